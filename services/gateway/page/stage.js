// The stage: the recording with its captions in time, or the latest picture.

import { clock, make, place } from "./elements.js";
import { forget, load } from "./pictures.js";

const HOLD_S = 4;  // how long a caption stays over a live picture after its last word

/** The picture of one view. */
export class Stage {
  constructor(of) {
    this.of = of;
    this.video = place("video");
    this.picture = place("picture");
    this.frame = this.video.parentElement;
    this.plays = of.info.recording;
    this.latest = null;
    this.shown = null;
    this.pinned = false;
    this.edge = null;
    this.spoken = 0;
    this.video.hidden = this.picture.hidden = true;
    place("nothing").hidden = false;
    place("nothing").textContent = this.plays ? "The recording is being opened." : "Nothing to see yet.";
    place("back").hidden = true;
    this.track = new Track(this.video);
    this.caption([]);
    if (this.plays) this.openVideo();
    this.timer = setInterval(() => this.tick(), 120);
  }

  close() {
    clearInterval(this.timer);
    this.video.onloadedmetadata = this.video.onseeking = this.video.onerror = null;
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    forget(this.picture);
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
    this.shown = keyframe.id;
    place("nothing").hidden = true;
    this.picture.hidden = false;
    this.picture.alt = `The picture at ${clock(keyframe.media_start)}`;
    load(this.picture, this.of.scenes.pathOf(keyframe.id));
  }

  /** A picture is withheld after all: the one before it is the latest. */
  takeBack(id) {
    if (this.latest?.id === id) this.latest = this.of.scenes.before(Infinity);
    if (this.shown !== id) return;
    this.shown = null;
    if (this.latest) {
      this.showLatest();
      return;
    }
    forget(this.picture);
    this.pinned = false;
    this.picture.hidden = place("back").hidden = true;
    place("nothing").hidden = false;
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
      this.caption(this.track.isShown ? [] : this.of.captions.at(time, hold));
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
    const text = words.map(word => word.space + word.text).join("") + words.filter(word => word.tentative).length;
    if (text === this.captioned) return;
    this.captioned = text;
    const spans = words.map(word => make("span", word.tentative ? "tentative" : "held", word.space + word.text));
    place("overlay").firstElementChild.replaceChildren(...spans);
  }
}

/** The captions again as a track of the player itself: what lies over it is not seen where it fills the screen. */
class Track {
  constructor(video) {
    this.track = video.textTracks[0] ?? video.addTextTrack("captions", "Captions");
    this.track.mode = "hidden";
    for (const cue of [...this.track.cues]) this.track.removeCue(cue);
    this.cues = new Map();
    document.onfullscreenchange = () => { this.track.mode = document.fullscreenElement === video ? "showing" : "hidden"; };
  }

  get isShown() {
    return this.track.mode === "showing";
  }

  add(line) {
    this.remove(line.id);
    const text = line.words.map(word => word.space + word.text).join("");
    const escaped = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    const cue = new VTTCue(line.start, Math.max(line.end, line.start + 0.5), escaped);
    this.cues.set(line.id, cue);
    this.track.addCue(cue);
  }

  remove(id) {
    if (this.cues.has(id)) this.track.removeCue(this.cues.get(id));
    this.cues.delete(id);
  }
}
