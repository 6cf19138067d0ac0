// Captions: each segment's latest partial until its final, with what was flagged, withheld or went wrong between them.

import { ACTIONS, clock, flash, make, place } from "./elements.js";

const KEPT = 500;
const BEFORE = place("captions-empty").textContent;

/** The captions of one view. */
export class Captions {
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
    place("captions-empty").textContent = BEFORE;
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
    const start = event.words?.[0]?.start ?? event.media_start;
    const held = line ?? this.add(event.id, start);
    Object.assign(held, { isFinal, start, end: event.media_end, words: wordsOf(event) });
    held.at.textContent = clock(start);
    held.translates = Boolean(event.translation_of);
    held.text.replaceChildren(...held.words.flatMap(word => [word.space, make("span", word.name, word.text)]));
    held.element.className = ["line", isFinal ? "final" : "partial", event.translation_of ? "translation" : ""].join(" ").trim();
    held.text.lang = event.language || "";
    if (this.judged.has(event.id)) this.badge(held, this.judged.get(event.id));
    if (isFinal && !held.translates) this.of.stage.track.add(held);
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
      if (this.judged.size > KEPT) this.judged.delete(this.judged.keys().next().value);
      if (line) this.badge(line, verdict);
      return;
    }
    const held = line ?? this.add(verdict.of, verdict.media_start);
    Object.assign(held, { isFinal: true, start: verdict.media_start, end: verdict.media_end, words: [] });
    held.element.className = "line withheld";
    this.of.stage.track.remove(verdict.of);
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
    const line = { id, at, text, element: make("li", "line", "", at, text), words: [], start: seconds ?? 0, end: seconds ?? 0 };
    this.lines.set(id, line);
    this.list.append(line.element);
    place("captions-empty").hidden = true;
    if (this.lines.size > KEPT) {
      this.remove(this.lines.keys().next().value);
      place("captions-dropped").hidden = false;
      place("captions-dropped").textContent = `The last ${KEPT} lines are kept on this page.`;
    }
    return line;
  }

  remove(id) {
    this.lines.get(id)?.element.remove();
    this.lines.delete(id);
    this.of.stage.track.remove(id);
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

  /** Go along with the latest, once for all that came since the page was drawn. */
  keepUp() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      if (!this.follows) return;
      this.moved = performance.now();
      this.said.scrollTop = this.said.scrollHeight;
    });
  }

  /** Who scrolls back is left where they read. */
  scrolled() {
    const size = `${this.said.clientWidth} ${this.said.clientHeight}`;
    if (size !== this.size) {
      // The window was made larger or smaller: nobody scrolled.
      this.size = size;
      this.keepUp();
      return;
    }
    const isAtEnd = this.said.scrollHeight - this.said.scrollTop - this.said.clientHeight < 24;
    if (isAtEnd) this.follows = true;
    else if (performance.now() - (this.moved ?? 0) > 200) this.follows = false;
    place("follow").hidden = this.follows || this.of.ended;
  }
}

/** The words of a segment with what is promised, tentative or corrected about each; with the spaces between them. */
function wordsOf(event) {
  const isFinal = event.type === "final";
  if (!event.words.length) return [{ space: "", text: event.text, name: isFinal ? "settled" : "stable", tentative: false }];
  return event.words.map((word, number) => {
    const tentative = !isFinal && number >= event.stable;
    const name = tentative ? "tentative" : isFinal ? (word.corrected ? "corrected" : "settled") : "stable";
    return { space: number && !word.glued ? " " : "", text: word.w, name, tentative };
  });
}
