// The page of one stream at a time: what it says and shows, as it happens, through breaks to its end.

import { call, eventsOf } from "./calls.js";
import { Captions } from "./captions.js";
import { clock, place, state } from "./elements.js";
import { ask } from "./questions.js";
import { Scenes } from "./scenes.js";
import { Stage } from "./stage.js";

const LONGEST_WAIT_MS = 10_000;
const LOOK_MS = 5_000;  // how often the list of streams is looked at
const WAIT_MS = 1_500;  // the same while the stream has not begun

const wait = ms => new Promise(done => setTimeout(done, ms));

let view = null;

/** Everything shown of one stream; `close` forgets it. */
class View {
  constructor(info) {
    this.info = info;
    this.path = `/v1/streams/${encodeURIComponent(info.stream)}`;
    this.startedAt = info.started_at;
    this.stopped = new AbortController();
    this.ended = false;
    this.conversation = "";
    this.stage = new Stage(this);
    this.captions = new Captions(this);
    this.scenes = new Scenes(this);
    place("answers").replaceChildren();
    place("conversation").hidden = true;
    place("statistics").textContent = "";
    place("stream-name").textContent = place("picker").hidden ? info.stream : "";
    document.title = `${info.stream} · Watchword`;
  }

  close() {
    this.stopped.abort();
    this.stage.close();
    this.scenes.close();
  }

  /** Follow the stream to its end, through breaks. */
  async follow() {
    const { signal } = this.stopped;
    let token = "", pause = 1_000;
    while (!signal.aborted && !this.ended) {
      try {
        const headers = token ? { "Last-Event-ID": token } : {};
        const response = await call(`${this.path}/events`, { headers, signal });
        pause = 1_000;
        if (response.status === 204) this.end();
        else state("live", "live");
        for await (const { id, name, data } of response.status === 204 ? [] : eventsOf(response)) {
          if (signal.aborted) return;
          this.take(name, data);
          token = id || token;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 404) {
          state("waiting", "waiting for the stream");
          pause = WAIT_MS;
        } else state("broken", error.status ? error.message : "the gateway is away; trying again");
      }
      if (this.ended || signal.aborted) return;
      await wait(pause);
      pause = Math.min(pause * 1.6, LONGEST_WAIT_MS);
      pick((await list()) ?? []);
    }
  }

  /** Whether this is the stream that is shown, and not another one of its name, of which nothing was seen yet. */
  isOf(info) {
    if (info.stream !== this.info.stream) return false;
    this.startedAt ??= info.started_at;
    return info.started_at === null || info.started_at === this.startedAt;
  }

  take(name, data) {
    if (name === "end") this.end(data.cause);
    else if (name === "missed") this.captions.note(null, "Some of what happened is not kept any more.", "note");
    else if (name === "error") state("broken", data.message);
    else this.show(data);
  }

  show(event) {
    this.stage.heard(event);
    switch (event.type) {
      case "partial":
      case "final":
        this.captions.say(event);
        break;
      case "keyframe":
        this.scenes.keyframe(event);
        break;
      case "scene":
        this.scenes.describe(event);
        break;
      case "verdict":
        if (event.kind === "transcript") this.captions.judge(event);
        else this.scenes.judge(event);
        break;
      case "statistics":
        place("statistics").textContent = event.text;
        break;
      case "gap": {
        const why = event.text ? `: ${event.text}` : "";
        this.captions.note(event.media_start, `The source was away until ${clock(event.media_end)}${why}`, "note");
        break;
      }
      case "error":
        this.captions.note(event.media_start, `${event.text} [${event.reason}]`, "note problem", event.id);
        break;
    }
  }

  end(cause = "") {
    this.ended = true;
    state("ended", cause ? `ended: ${cause}` : "ended");
    this.stage.ended();
    this.captions.settle();
    this.scenes.count();
  }

  /** Show a moment: in the recording, or as the picture that was chosen before it; and where it was said and described. */
  goTo(seconds, { play = false } = {}) {
    this.stage.goTo(seconds, play);
    this.captions.find(seconds);
    this.scenes.find(seconds);
  }
}

/** The known streams; `null` where the gateway is away. */
async function list() {
  try {
    return (await (await call("/v1/streams")).json()).streams;
  } catch {
    return null;
  }
}

function open(info) {
  view?.close();
  view = new View(info);
  view.follow();
}

/** The stream that the address names, if it names one. */
function wanted() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function pick(streams) {
  const chooser = place("streams");
  if (!streams.length) return;
  const names = streams.map(each => each.stream);
  if (names.join("\n") !== [...chooser.options].map(each => each.value).join("\n"))
    chooser.replaceChildren(...names.map(name => new Option(name, name)));
  place("picker").hidden = names.length < 2;
  if (view) place("stream-name").textContent = names.length < 2 ? view.info.stream : "";
  // The stream that is asked for; else the one that is shown, else one that goes on, else the last.
  const info = [wanted(), view?.info.stream].map(name => streams.find(each => each.stream === name)).find(Boolean)
    ?? (view ? null : (streams.find(each => !each.ended) ?? streams.at(-1)));
  if (info && !view?.isOf(info)) open(info);
  if (view) chooser.value = view.info.stream;
}

async function main() {
  place("streams").onchange = () => { location.hash = encodeURIComponent(place("streams").value); };
  addEventListener("hashchange", async () => pick((await list()) ?? []));
  place("follow").onclick = () => { view.captions.follows = true; view.captions.keepUp(); place("follow").hidden = true; };
  place("back").onclick = () => view.stage.showLatest();
  place("anew").onclick = () => { view.conversation = ""; place("conversation").hidden = true; place("question").focus(); };
  place("asking").onsubmit = event => {
    event.preventDefault();
    const question = place("question").value.trim();
    if (!question || !view) return;
    place("question").value = "";
    ask(view, question);
  };
  state("waiting", "connecting");
  for (;;) {
    const streams = await list();
    if (streams) pick(streams);
    if (!view) state(streams ? "waiting" : "broken", streams ? "no stream yet" : "the gateway is away; trying again");
    await wait(view ? LOOK_MS : WAIT_MS);
  }
}

main();
