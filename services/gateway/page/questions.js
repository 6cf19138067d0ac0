// Questions: what is asked, and the answer as it comes, with citations that show their moment.

import { Refused, call, eventsOf } from "./calls.js";
import { ACTIONS, clock, make, place } from "./elements.js";

const KEPT = 20;

/** Ask about the stream of a view. */
export async function ask(of, question) {
  const asked = make("p", "asked", question);
  const told = make("p", "told");
  const cites = make("div", "cites");
  const by = make("p", "by");
  const card = make("li", "answer pending", "", asked, told, cites, by);
  card.setAttribute("aria-busy", "true");
  const answers = place("answers");
  answers.prepend(card);
  while (answers.children.length > KEPT) answers.lastElementChild.remove();
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
    card.className = "answer refused";
    cites.replaceChildren();
    told.textContent = error instanceof Refused ? error.message : `No answer: ${error.message}`;
    if (error.reason === "CONVERSATION_UNKNOWN") {
      of.conversation = "";
      place("conversation").hidden = true;
      told.textContent = "What was asked before is not kept any more: ask again, and name what it is about.";
    }
  } finally {
    card.removeAttribute("aria-busy");
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
