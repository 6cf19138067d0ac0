// Calls to the gateway: with the key where there is one, answered once or as server-sent events.

import { place, state } from "./elements.js";

const SILENCE_MS = 45_000;  // the gateway says that it is there every 15 s
const KEY = "watchword-key";

/** Whether a key must be shown. */
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

export class Refused extends Error {
  constructor(status, reason, message) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** Call the gateway, with the key where there is one; asks for it where it is wanted. Throws `Refused`. */
export async function call(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    const response = await fetch(path, { ...options, headers, cache: "no-cache" });
    if (response.status !== 401) {
      if (!response.ok) throw await refusal(response);
      return response;
    }
    // Refused late, with a key that another one has taken the place of meanwhile: that is tried first.
    if (sessionStorage.getItem(KEY) === key) await unlocked(key !== null);
    options.signal?.throwIfAborted();
  }
}

async function refusal(response) {
  const told = await response.json().catch(() => ({}));
  return new Refused(response.status, told.reason ?? "", told.message ?? `the gateway answered ${response.status}`);
}

let unlocking = null;

/** Ask for the key, once for all who wait for it. */
function unlocked(wasWrong) {
  unlocking ??= new Promise(done => {
    state("waiting", "locked");
    place("wrong").textContent = wasWrong ? "That is not its key." : "";
    const dialog = place("locked");
    place("unlocking").onsubmit = event => {
      event.preventDefault();
      const key = place("key").value;
      place("key").value = "";
      // What cannot stand in a header is nobody's key.
      if (!/^[\x20-\x7e]+$/.test(key)) {
        place("wrong").textContent = "That is not its key.";
        return;
      }
      sessionStorage.setItem(KEY, key);
      dialog.close();
      unlocking = null;
      done();
    };
    dialog.oncancel = event => event.preventDefault();
    dialog.showModal();
  });
  return unlocking;
}

/** Server-sent events of a response, as the HTML standard has them read; throws where nothing comes for long. */
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", event = { id: "", name: "", data: "" };
  try {
    for (;;) {
      const { done, value } = await within(SILENCE_MS, reader.read());
      if (done) return;
      const lines = (text + value).split("\n");
      text = lines.pop();
      for (const line of lines) {
        const [name, ...rest] = line.split(":");
        const said = rest.join(":").replace(/^ /, "");
        if (line === "") {
          if (event.data) yield { id: event.id, name: event.name, data: JSON.parse(event.data) };
          event = { id: "", name: "", data: "" };
        } else if (name === "data") event.data += said;
        else if (name === "event") event.name = said;
        else if (name === "id") event.id = said;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function within(ms, promise) {
  let timer;
  const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error("nothing was heard for long")), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
