// What a stream says and shows, as it happens. Text from streams and people is only ever set as text, never as HTML.

const CAPTIONS_KEPT = 500, SCENES_KEPT = 200, ANSWERS_KEPT = 20, SHOTS_SHOWN = 9;
const SILENCE_MS = 45_000;       // the gateway says that it is there every 15 s
const LONGEST_WAIT_MS = 10_000;
const LOOK_MS = 5_000;           // how often the list of streams is looked at
const WAIT_MS = 1_500;           // the same while the stream has not begun
const HOLD_S = 4;                // how long a caption stays over a live picture after its last word
const ACTIONS = { flag: "flagged", redact: "redacted", block: "withheld", unscored: "withheld: nothing here can judge it" };
const REASONS = { motion_peak: "motion" };
const KEY = "watchword-key";

const place = id => document.getElementById(id);
const wait = ms => new Promise(done => setTimeout(done, ms));

/** An element with a class, its text and what stands in it. */
function make(tag, name = "", text = "", ...inside) {
  const made = document.createElement(tag);
  made.className = name;
  if (text) made.textContent = text;
  if (tag === "button") made.type = "button";
  made.append(...inside);
  return made;
}

/** Media time as people write it: 0:09, 1:02:03. */
function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const pair = number => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${pair(Math.floor(whole / 60) % 60)}:${pair(whole % 60)}` : `${Math.floor(whole / 60)}:${pair(whole % 60)}`;
}

// ---- Calls

class Refused extends Error {
  constructor(status, reason, message) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** Call the gateway, with the key where there is one; asks for it where it is wanted. Throws `Refused`. */
async function call(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    const response = await fetch(path, { ...options, headers, cache: "no-cache" });
    if (response.status !== 401) {
      if (!response.ok) throw await refusal(response);
      return response;
    }
    await unlocked(key !== null);
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
async function* eventsOf(response) {
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

// ---- Pictures

/** Loads pictures when they come near; with a key they are fetched, because an image cannot show one. */
const near = new IntersectionObserver(entries => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    load(target, target.dataset.from);
  }
}, { rootMargin: "600px", scrollMargin: "600px" });

async function load(image, path) {
  image.dataset.from = path;
  if (!sessionStorage.getItem(KEY)) {
    image.src = path;
    return;
  }
  const blob = await call(path).then(response => response.blob(), () => null);
  if (image.dataset.from !== path) return;
  release(image);
  if (blob) image.src = URL.createObjectURL(blob);
}

function release(image) {
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
}

// ---- The view of one stream

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
      case "gap":
        this.captions.note(event.media_start, `The source was away until ${clock(event.media_end)}. ${event.text}`, "note");
        break;
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
  }

  /** Show a moment: in the recording, or as the picture that was chosen before it; and where it was said and described. */
  goTo(seconds, { play = false } = {}) {
    this.stage.goTo(seconds, play);
    this.captions.find(seconds);
    this.scenes.find(seconds);
  }
}

// ---- The stage

class Stage {
  constructor(of) {
    this.of = of;
    this.video = place("video");
    this.picture = place("picture");
    this.frame = this.video.parentElement;
    this.plays = of.info.recording;
    this.latest = null;
    this.pinned = false;
    this.edge = null;
    this.spoken = 0;
    this.video.hidden = this.picture.hidden = true;
    place("nothing").hidden = false;
    place("nothing").textContent = this.plays ? "The recording is being opened." : "Nothing to see yet.";
    place("back").hidden = true;
    this.caption([]);
    if (this.plays) this.openVideo();
    this.timer = setInterval(() => this.tick(), 120);
  }

  close() {
    clearInterval(this.timer);
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    release(this.picture);
    this.picture.removeAttribute("src");
    delete this.picture.dataset.from;
  }

  openVideo() {
    const { video } = this;
    video.onloadedmetadata = () => {
      place("nothing").hidden = true;
      video.hidden = false;
      this.joinLive();
    };
    video.onseeking = () => this.tick();
    video.onerror = () => {
      if (video.error.code !== MediaError.MEDIA_ERR_NETWORK) this.withoutVideo();
    };
    video.src = `${this.of.path}/recording`;
  }

  /** What this browser cannot play is shown as pictures. */
  withoutVideo() {
    this.plays = false;
    this.video.hidden = true;
    place("nothing").hidden = Boolean(this.latest);
    place("nothing").textContent = "This browser cannot play the recording; its pictures appear here.";
    this.showLatest();
  }

  heard(event) {
    if (event.emitted !== undefined && event.type !== "error") {
      const isFirst = this.edge === null;
      this.edge = { media: event.media_end, emitted: event.emitted, at: performance.now() };
      if (isFirst || !this.joined) this.joinLive();
    }
    if (event.type === "keyframe") {
      this.latest = event;
      if (!this.plays && !this.pinned) this.showLatest();
    }
    if (event.type === "partial" || event.type === "final") this.spoken = performance.now();
  }

  /** Play a recording along with what is heard of it, without sound, where it goes at its own speed. */
  joinLive() {
    if (this.joined || this.of.ended || !this.plays || this.video.hidden || !this.edge) return;
    if (this.edge.emitted < this.edge.media - 1 || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const now = this.edge.emitted + (performance.now() - this.edge.at) / 1000;
    if (now > this.video.duration) return;
    this.joined = true;
    this.video.currentTime = now;
    this.video.muted = true;
    this.video.play().catch(() => {});
  }

  ended() {
    this.joined = true;
  }

  showLatest() {
    if (!this.latest) return;
    this.pinned = false;
    place("back").hidden = true;
    this.show(this.latest);
  }

  show(keyframe) {
    place("nothing").hidden = true;
    this.picture.hidden = false;
    this.picture.alt = `The picture at ${clock(keyframe.media_start)}`;
    load(this.picture, this.of.scenes.pathOf(keyframe.id));
  }

  goTo(seconds, play) {
    if (this.plays && !this.video.hidden) {
      this.joined = true;
      this.video.currentTime = seconds;
      if (play) this.video.play().catch(() => {});
      return;
    }
    const keyframe = this.of.scenes.before(seconds);
    if (!keyframe) return;
    this.pinned = true;
    place("back").hidden = false;
    this.show(keyframe);
  }

  /** Keep the captions with the picture. */
  tick() {
    const isVideo = this.plays && !this.video.hidden;
    this.frame.classList.toggle("pictures", !isVideo);
    this.frame.classList.toggle("controlled", this.video.paused);
    if (isVideo) {
      const time = this.video.currentTime;
      const hold = this.of.ended ? 0.4 : HOLD_S;
      this.caption(this.of.captions.at(time, hold));
      if (!this.video.paused || this.sought !== time) {
        this.of.captions.mark(time);
        this.of.scenes.mark(time);
      }
      this.sought = time;
    } else if (!this.pinned && performance.now() - this.spoken < HOLD_S * 1000 && !this.of.ended) {
      this.caption(this.of.captions.latest());
    } else this.caption([]);
  }

  caption(words) {
    const text = words.map(word => word.text).join("") + words.filter(word => word.tentative).length;
    if (text === this.captioned) return;
    this.captioned = text;
    place("overlay").firstElementChild.replaceChildren(...words.map(word => make("span", word.tentative ? "tentative" : "held", word.text)));
  }
}

// ---- Captions

class Captions {
  constructor(of) {
    this.of = of;
    this.lines = new Map();
    this.judged = new Map();
    this.list = place("lines");
    this.list.replaceChildren();
    this.said = place("said");
    this.follows = true;
    this.caughtUp = false;
    this.born = performance.now();
    place("captions-dropped").hidden = true;
    place("captions-empty").hidden = false;
    place("follow").hidden = true;
    this.said.onscroll = () => this.scrolled();
  }

  say(event) {
    const line = this.lines.get(event.id);
    const isFinal = event.type === "final";
    if (line?.isFinal && !isFinal) return;
    if (isFinal && !event.text) {
      this.remove(event.id);
      return;
    }
    const held = line ?? this.add(event.id, event.media_start);
    Object.assign(held, { isFinal, start: event.media_start, end: event.media_end, words: wordsOf(event), translates: Boolean(event.translation_of) });
    held.text.replaceChildren(...held.words.map(word => make("span", word.name, word.text)));
    held.element.className = ["line", isFinal ? "final" : "partial", event.translation_of ? "translation" : ""].join(" ").trim();
    held.text.lang = event.language || "";
    if (this.judged.has(event.id)) this.badge(held, this.judged.get(event.id));
    if (isFinal && performance.now() - this.born > 2_000) place("announced").textContent = event.text;
    this.keepUp();
  }

  /** A verdict that is more than to allow: a badge, or the fact that something is withheld. */
  judge(verdict) {
    const does = ACTIONS[verdict.action];
    if (!does) return;
    const line = this.lines.get(verdict.of);
    if (verdict.action === "flag" || verdict.action === "redact") {
      this.judged.set(verdict.of, verdict);
      if (this.judged.size > CAPTIONS_KEPT) this.judged.delete(this.judged.keys().next().value);
      if (line) this.badge(line, verdict);
      return;
    }
    const held = line ?? this.add(verdict.of, verdict.media_start);
    Object.assign(held, { isFinal: true, start: verdict.media_start, end: verdict.media_end, words: [] });
    held.element.className = "line withheld";
    held.text.textContent = `What was said here is ${does}`;
    if (verdict.text) held.text.append(` (${verdict.text})`);
    this.keepUp();
  }

  badge(line, verdict) {
    line.text.querySelector(".badge")?.remove();
    const badge = make("span", `badge ${verdict.action}`, ACTIONS[verdict.action]);
    badge.title = verdict.text;
    line.text.append(badge);
  }

  note(seconds, text, name, id = `note-${text}`) {
    if (this.lines.has(id)) return;
    const line = this.add(id, seconds);
    Object.assign(line, { isFinal: true, isNote: true, start: seconds ?? 0, end: seconds ?? 0, words: [] });
    line.element.className = `line ${name}`;
    line.text.textContent = text;
    this.keepUp();
  }

  add(id, seconds) {
    const at = seconds === null ? make("span", "at") : make("button", "at", clock(seconds));
    if (seconds !== null) {
      at.title = "Show this moment";
      at.onclick = () => this.of.goTo(this.lines.get(id)?.start ?? seconds);
    }
    const text = make("p");
    const line = { id, text, element: make("li", "line", "", at, text), words: [], start: seconds ?? 0, end: seconds ?? 0 };
    this.lines.set(id, line);
    this.list.append(line.element);
    place("captions-empty").hidden = true;
    if (this.lines.size > CAPTIONS_KEPT) {
      this.remove(this.lines.keys().next().value);
      place("captions-dropped").hidden = false;
      place("captions-dropped").textContent = `The last ${CAPTIONS_KEPT} lines are kept on this page.`;
    }
    return line;
  }

  remove(id) {
    this.lines.get(id)?.element.remove();
    this.lines.delete(id);
  }

  /** The stream is over: what was not settled will not be. */
  settle() {
    for (const line of this.lines.values()) line.element.classList.remove("partial");
    if (!this.lines.size) place("captions-empty").textContent = "Nothing was said.";
  }

  /** The words of the moment: of the last line that has begun, until it has been held long enough. */
  at(time, hold) {
    const line = this.lineAt(time);
    return line && time < line.end + hold ? line.words : [];
  }

  latest() {
    return [...this.lines.values()].findLast(line => line.words.length && !line.translates)?.words ?? [];
  }

  lineAt(time) {
    let found = null;
    for (const line of this.lines.values())
      if (line.start <= time && line.words.length && !line.translates && (!found || line.start >= found.start)) found = line;
    return found;
  }

  mark(time) {
    const line = this.lineAt(time);
    const now = line && time < line.end + 0.4 ? line : null;
    if (now === this.now) return;
    this.now?.element.classList.remove("now");
    now?.element.classList.add("now");
    this.now = now;
    if (now && this.of.ended) this.scrollTo(now.element);
  }

  find(time) {
    const line = this.lineAt(time + 0.5);
    if (!line) return;
    this.follows = false;
    place("follow").hidden = this.of.ended;
    this.scrollTo(line.element);
    flash(line.element);
  }

  scrollTo(element) {
    this.moved = performance.now();
    this.said.scrollTop = element.offsetTop - this.said.offsetTop - this.said.clientHeight / 2 + element.clientHeight / 2;
  }

  keepUp() {
    if (!this.follows) return;
    this.moved = performance.now();
    this.said.scrollTop = this.said.scrollHeight;
  }

  /** Who scrolls back is left where they read. */
  scrolled() {
    const isAtEnd = this.said.scrollHeight - this.said.scrollTop - this.said.clientHeight < 24;
    if (isAtEnd) this.follows = true;
    else if (performance.now() - (this.moved ?? 0) > 200) this.follows = false;
    place("follow").hidden = this.follows || this.of.ended;
  }
}

/** The words of a segment with what is promised, tentative or corrected about each; with the spaces between them. */
function wordsOf(event) {
  if (!event.words.length) return [{ text: event.text, name: "stable", tentative: false }];
  const isFinal = event.type === "final";
  return event.words.map((word, number) => {
    const tentative = !isFinal && number >= event.stable;
    const name = tentative ? "tentative" : isFinal ? (word.corrected ? "corrected" : "settled") : "stable";
    return { text: (number && !word.glued ? " " : "") + word.w, name, tentative };
  });
}

function flash(element) {
  element.classList.remove("found");
  void element.offsetWidth;
  element.classList.add("found");
}

// ---- Scenes

class Scenes {
  constructor(of) {
    this.of = of;
    this.cards = new Map();
    this.keyframes = new Map();
    this.list = place("scenes");
    this.list.replaceChildren();
    this.follows = true;
    this.dropped = 0;
    place("scenes-empty").hidden = false;
    place("scenes-dropped").hidden = true;
    place("scenes-count").textContent = "";
    this.list.onscroll = () => {
      const isAtEnd = this.list.scrollWidth - this.list.scrollLeft - this.list.clientWidth < 40;
      if (isAtEnd) this.follows = true;
      else if (performance.now() - (this.moved ?? 0) > 700) this.follows = false;
    };
  }

  close() {
    for (const id of [...this.cards.keys()]) this.remove(id);
  }

  pathOf(keyframeId) {
    return `${this.of.path}/keyframes/${encodeURIComponent(keyframeId)}.jpg`;
  }

  keyframe(event) {
    if (this.keyframes.has(event.id)) return;
    this.keyframes.set(event.id, event);
    const card = this.cards.get(event.scene) ?? this.add(event.scene, event.media_start);
    card.shots.push(event.id);
    if (card.shots.length > SHOTS_SHOWN) return;
    const image = make("img");
    image.alt = "";
    image.dataset.from = this.pathOf(event.id);
    image.onerror = () => { image.hidden = true; };
    const reason = REASONS[event.reason] ?? event.reason;
    const shot = make("button", "shot", "", image, make("span", "", `${clock(event.media_start)} ${reason}`));
    shot.title = `Show ${clock(event.media_start)} (${reason}, score ${event.score.toFixed(2)})`;
    shot.setAttribute("aria-label", `Show the picture at ${clock(event.media_start)}, chosen as ${reason}`);
    shot.onclick = () => this.of.goTo(event.media_start);
    card.pictures.append(shot);
    near.observe(image);
    this.keepUp();
  }

  describe(event) {
    const card = this.cards.get(event.id) ?? this.add(event.id, event.media_start);
    if (card.revision > event.revision) return;
    Object.assign(card, { revision: event.revision, start: event.media_start, end: event.media_end });
    const isTags = event.model === "tags" && event.text.startsWith("Tags: ");
    card.when.replaceChildren(`${clock(event.media_start)}–${clock(event.media_end)}`, make("span", "made", isTags ? "tags" : event.model));
    card.text.className = "text";
    card.text.textContent = isTags ? event.text.slice(6) : event.text;
    const read = event.on_screen_text.filter(line => !event.text.includes(line));
    const people = event.people === null ? "" : `${event.people} ${event.people === 1 ? "person" : "people"}`;
    const more = [
      event.detail,
      read.length ? `On the screen: “${read.join(" / ")}”` : "",
      event.actions.map(each => `${clock(each.start)} ${each.what}`).join("; "),
      isTags ? "" : [people, event.camera && `camera: ${event.camera}`].filter(Boolean).join(", "),
      event.extended_by.length ? `${event.extended_by.length} more that look the same` : "",
    ];
    card.more.replaceChildren(...more.filter(Boolean).map(text => make("p", "", text)));
    this.count();
    this.keepUp();
  }

  judge(verdict) {
    const does = ACTIONS[verdict.action];
    if (verdict.kind === "scene") {
      const card = this.cards.get(verdict.of) ?? this.add(verdict.of, verdict.media_start);
      const isGone = verdict.action === "block" || verdict.action === "unscored";
      if (isGone) {
        card.text.className = "text open";
        card.text.textContent = "Its description is withheld.";
        card.more.replaceChildren();
        card.end = verdict.media_end;
      }
      const unjudged = verdict.unscored.length ? `; not judged: ${verdict.unscored.join(", ")}` : "";
      card.verdict.className = `verdict ${verdict.action}`;
      card.verdict.textContent = (does ? `${does}${verdict.text ? `: ${verdict.text}` : ""}` : "allowed") + unjudged;
    } else if (verdict.kind === "keyframe") {
      const card = this.cards.get(this.keyframes.get(verdict.of)?.scene);
      if (card && verdict.unscored.length) card.unjudged.textContent = `not judged in pictures: ${verdict.unscored.join(", ")}`;
      if (does) this.judgePicture(verdict, does);
    }
    this.keepUp();
  }

  judgePicture(verdict, does) {
    const shown = this.keyframes.get(verdict.of);
    const card = this.cards.get(shown?.scene) ?? [...this.cards.values()].at(-1) ?? this.add(`scene-${verdict.of}`, verdict.media_start);
    const isGone = verdict.action === "block" || verdict.action === "unscored";
    if (isGone && !card.gone.has(verdict.of)) {
      card.gone.add(verdict.of);
      const tile = make("div", "shot gone", "", make("span", "", `${clock(verdict.media_start)} withheld`));
      tile.title = verdict.text || does;
      card.pictures.append(tile);
    }
    card.pictureVerdict.className = `verdict ${verdict.action}`;
    card.pictureVerdict.textContent = `A picture at ${clock(verdict.media_start)} is ${does}${verdict.text ? `: ${verdict.text}` : ""}`;
  }

  add(id, seconds) {
    const card = {
      id, start: seconds, end: null, revision: -1, shots: [], gone: new Set(),
      pictures: make("div", "shots"),
      when: make("p", "when", `from ${clock(seconds)}`),
      text: make("p", "text open", "In words when it closes …"),
      more: make("div", "more"),
      verdict: make("p", "verdict"),
      pictureVerdict: make("p", "verdict"),
      unjudged: make("p", "verdict"),
    };
    const words = make("div", "words", "", card.when, card.text, card.more, make("div", "verdicts", "", card.pictureVerdict, card.verdict, card.unjudged));
    card.element = make("li", "scene", "", card.pictures, words);
    this.cards.set(id, card);
    this.list.append(card.element);
    place("scenes-empty").hidden = true;
    if (this.cards.size > SCENES_KEPT) {
      this.remove(this.cards.keys().next().value);
      this.dropped += 1;
      place("scenes-dropped").hidden = false;
      place("scenes-dropped").textContent = `The last ${SCENES_KEPT} are kept on this page.`;
    }
    this.count();
    return card;
  }

  remove(id) {
    const card = this.cards.get(id);
    for (const shot of card.shots) this.keyframes.delete(shot);
    for (const image of card.element.querySelectorAll("img")) {
      near.unobserve(image);
      delete image.dataset.from;
      release(image);
    }
    card.element.remove();
    this.cards.delete(id);
  }

  count() {
    const many = this.cards.size + this.dropped;
    place("scenes-count").textContent = `${many} so far`;
  }

  /** The last picture that was chosen at or before a time, or else the first. */
  before(time) {
    let found = null;
    for (const each of this.keyframes.values())
      if (!found || (each.media_start <= time + 0.05 && each.media_start >= found.media_start)) found = each;
    return found;
  }

  cardAt(time) {
    let found = null;
    for (const card of this.cards.values()) if (card.start <= time + 0.05 && (!found || card.start >= found.start)) found = card;
    return found;
  }

  mark(time) {
    const now = this.cardAt(time);
    if (now === this.now) return;
    this.now?.element.classList.remove("now");
    now?.element.classList.add("now");
    this.now = now;
    if (now && this.of.ended) this.scrollTo(now.element);
  }

  find(time) {
    const card = this.cardAt(time);
    if (!card) return;
    this.follows = false;
    this.scrollTo(card.element);
    flash(card.element);
  }

  scrollTo(element) {
    this.moved = performance.now();
    const middle = element.offsetLeft - this.list.offsetLeft - (this.list.clientWidth - element.clientWidth) / 2;
    this.list.scrollTo({ left: middle, behavior: "smooth" });
  }

  keepUp() {
    if (!this.follows) return;
    this.moved = performance.now();
    this.list.scrollLeft = this.list.scrollWidth;
  }
}

// ---- Questions

async function ask(question) {
  const of = view;
  const asked = make("p", "asked", question);
  const told = make("p", "told");
  const cites = make("div", "cites");
  const by = make("p", "by");
  const card = make("li", "answer pending", "", asked, told, cites, by);
  const answers = place("answers");
  answers.prepend(card);
  while (answers.children.length > ANSWERS_KEPT) answers.lastElementChild.remove();
  try {
    const response = await call(`${of.path}/ask`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ question, conversation: of.conversation }),
      signal: of.stopped.signal,
    });
    for await (const { name, data } of eventsOf(response)) {
      if (name === "words") told.append(data.text);
      else if (name === "evidence") cites.replaceChildren(...data.evidence.slice(0, 3).map(each => cite(of, each)));
      else if (name === "answer") complete(of, { card, told, cites, by }, data);
      else if (name === "error") throw new Refused(0, data.reason, data.message);
    }
    if (card.classList.contains("pending")) throw new Error("the answer broke off: ask again");
  } catch (error) {
    if (of.stopped.signal.aborted) return;
    if (error.message.includes("conversation")) of.conversation = "";
    card.className = "answer refused";
    cites.replaceChildren();
    told.textContent = error instanceof Refused ? error.message : `No answer: ${error.message}`;
  }
}

function complete(of, { card, told, cites, by }, answer) {
  card.className = answer.supported ? "answer" : "answer unsupported";
  told.textContent = answer.text;
  cites.replaceChildren(...answer.evidence.map(each => cite(of, each)));
  const sure = answer.supported ? `confidence ${answer.confidence.toFixed(2)}` : "";
  by.textContent = [answer.model, sure, answer.partial_cause && `not whole: ${answer.partial_cause}`].filter(Boolean).join(" · ");
  const does = ACTIONS[answer.verdict?.action];
  if (does) told.append(make("span", `badge ${answer.verdict.action}`, does));
  of.conversation = answer.conversation;
  place("conversation").hidden = !answer.conversation;
}

/** Something an answer rests on, as a button that shows the moment. */
function cite(of, evidence) {
  const quoted = evidence.kind === "speech" ? `“${evidence.text}”` : evidence.text || evidence.kind;
  const button = make("button", "cite", "", make("b", "", clock(evidence.media_start)), make("span", "", quoted));
  button.title = `${evidence.kind} at ${clock(evidence.media_start)}: show this moment`;
  button.onclick = () => {
    of.goTo(evidence.media_start, { play: true });
    place("stage").scrollIntoView({ block: "nearest", behavior: "smooth" });
  };
  return button;
}

// ---- The whole

function state(kind, text) {
  const shown = place("state");
  shown.dataset.kind = kind;
  if (shown.firstElementChild.textContent !== text) shown.firstElementChild.textContent = text;
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

const wanted = () => decodeURIComponent(location.hash.slice(1));

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
    ask(question);
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
