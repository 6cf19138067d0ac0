// Scenes: their pictures as they are chosen, their descriptions when they close, and the verdicts on both.

import { ACTIONS, clock, flash, make, place } from "./elements.js";
import { forget, near } from "./pictures.js";

const KEPT = 200, SHOTS_SHOWN = 9;
const REASONS = { motion_peak: "motion" };

/** The scenes of one view. */
export class Scenes {
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
    this.list.onscroll = () => this.scrolled();
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
    shot.dataset.keyframe = event.id;
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
    const span = `${clock(event.media_start)}–${clock(event.media_end)}`;
    card.when.replaceChildren(span, make("span", "made", isTags ? "tags" : event.model));
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
      const shot = card.pictures.querySelector(`[data-keyframe="${CSS.escape(verdict.of)}"]`);
      if (shot) {
        forget(shot.querySelector("img"));
        shot.replaceWith(tile);
      } else card.pictures.append(tile);
      this.keyframes.delete(verdict.of);
      this.of.stage.takeBack(verdict.of);
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
    const verdicts = make("div", "verdicts", "", card.pictureVerdict, card.verdict, card.unjudged);
    const words = make("div", "words", "", card.when, card.text, card.more, verdicts);
    card.element = make("li", "scene", "", card.pictures, words);
    this.cards.set(id, card);
    this.list.append(card.element);
    place("scenes-empty").hidden = true;
    if (this.cards.size > KEPT) {
      this.remove(this.cards.keys().next().value);
      this.dropped += 1;
      place("scenes-dropped").hidden = false;
      place("scenes-dropped").textContent = `The last ${KEPT} are kept on this page.`;
    }
    this.count();
    return card;
  }

  remove(id) {
    const card = this.cards.get(id);
    for (const shot of card.shots) this.keyframes.delete(shot);
    for (const image of card.element.querySelectorAll("img")) forget(image);
    card.element.remove();
    this.cards.delete(id);
  }

  count() {
    const many = this.cards.size + this.dropped;
    place("scenes-count").textContent = this.of.ended ? `${many}` : `${many} so far`;
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

  /** Who scrolls back is left where they look. */
  scrolled() {
    if (this.list.clientWidth !== this.width) {
      // The window was made larger or smaller: nobody scrolled.
      this.width = this.list.clientWidth;
      this.keepUp();
      return;
    }
    const isAtEnd = this.list.scrollWidth - this.list.scrollLeft - this.list.clientWidth < 40;
    if (isAtEnd) this.follows = true;
    else if (performance.now() - (this.moved ?? 0) > 700) this.follows = false;
  }

  /** Go along with the latest, once for all that came since the page was drawn. */
  keepUp() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      if (!this.follows) return;
      this.moved = performance.now();
      this.list.scrollLeft = this.list.scrollWidth;
    });
  }
}
