// Elements and the words in them. Text from streams and people is only ever set as text, never as HTML.

/** What was done with what did not pass. */
export const ACTIONS = { flag: "flagged", redact: "redacted", block: "withheld", unscored: "withheld: nothing here can judge it" };

export const place = id => document.getElementById(id);

/** An element with a class, its text and what stands in it. */
export function make(tag, name = "", text = "", ...inside) {
  const made = document.createElement(tag);
  made.className = name;
  if (text) made.textContent = text;
  if (tag === "button") made.type = "button";
  made.append(...inside);
  return made;
}

/** Media time as people write it: 0:09, 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const pair = number => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${pair(Math.floor(whole / 60) % 60)}:${pair(whole % 60)}` : `${Math.floor(whole / 60)}:${pair(whole % 60)}`;
}

/** Draw the eye to an element for a moment. */
export function flash(element) {
  element.classList.remove("found");
  void element.offsetWidth;
  element.classList.add("found");
}

/** Say how the page stands with its gateway: waiting, live, broken or ended. */
export function state(kind, text) {
  const shown = place("state");
  shown.dataset.kind = kind;
  if (shown.firstElementChild.textContent !== text) shown.firstElementChild.textContent = text;
}
