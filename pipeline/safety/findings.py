"""What the rules find in a text, and what of it is masked."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from watchword.v1.safety_pb2 import Action

from pipeline.errors import MessageInvalid
from pipeline.safety import identity, injection, linear, normalise, personal, spoken, words
from pipeline.safety.judges import rules as rules_known
from pipeline.safety.normalise import fold
from pipeline.safety.policy import Policy, PolicySet, Subject, highest
from pipeline.safety.words import Match

MAX_CHARACTERS = 20_000
"""The longest text that is judged; a longer one does not pass. Nobody says or shows so much at once."""


@dataclass(frozen=True)
class Said:
    """What is known of words beside themselves."""

    language: str = ""
    """The BCP 47 tag of what is spoken; empty where nobody knows."""
    before: str = ""
    """What was said right before, with the space after it; it is looked at, so that what spans the border is found, and passed already."""
    goes_on: bool = False
    """Whether more will be said, so that a number at the end may be part of a longer one."""
    final: bool = True
    """Whether it stays as it is."""


NOTHING_ELSE = Said()


@dataclass(frozen=True)
class Found:
    """What rules found in a text."""

    matches: Sequence[Match] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    """By rule; a rule that did not look is absent."""


@dataclass(frozen=True)
class Span:
    """A stretch of a text to mask, in characters."""

    start: int
    end: int
    policy: str
    """The first policy that redacts it."""
    whole: bool
    """Whether nothing of it stays, its first character neither."""


def find(text: str, held: PolicySet, subject: Subject, said: Said = NOTHING_ELSE) -> Found:
    """What the rules that some policy asks find in a text."""
    if len(text) > MAX_CHARACTERS:
        raise MessageInvalid(
            f"a text of {len(text):,} characters is over the limit of {MAX_CHARACTERS:,}; it was not judged and does not pass"
        )
    wanted = {rule for policy in held.applying(subject).values() for rule in policy.judges()} & rules_known()
    if not wanted:
        return Found()
    whole = said.before + text
    folded = fold(whole)
    matches: list[Match] = []
    rules: set[str] = set()
    if wanted & {*words.policies()}:
        matches += words.find_folded(whole, folded, language=said.language)
        rules |= {*words.policies()}
    if personal.POLICY in wanted:
        found = personal.find_folded(folded)
        unfinished = personal.open_end(folded, surely=said.final) if said.goes_on else None
        matches += [*found, unfinished] if unfinished and not any(each.end > unfinished.start for each in found) else found
        rules.add(personal.POLICY)
    if injection.POLICY in wanted:
        matches += injection.find_folded(folded)
        rules.add(injection.POLICY)
    matches = [after for match in matches if (after := _behind(match, len(said.before))) is not None]
    scores = dict.fromkeys(rules, 0.0) | highest({match.policy: match.probability} for match in matches)
    if linear.POLICY in wanted:
        scores[linear.POLICY] = linear.shipped().score(fold(text).text if said.before else folded.text)
    return Found(sorted(matches, key=lambda match: (match.start, match.end)), {rule: scores[rule] for rule in wanted if rule in scores})


def _behind(match: Match, place: int) -> Match | None:
    """What of a match lies behind a place, counted from there; `None` where nothing does."""
    if match.end <= place:
        return None
    return replace(match, start=max(0, match.start - place), end=match.end - place, whole=match.whole or match.start < place)


def points_at(match: Match, policy: Policy, subject: Subject) -> bool:
    """Whether a match is a place where the policy is violated."""
    return match.policy in policy.judges() and policy.violated_by(match.probability, subject)


def spans_to_mask(matches: Iterable[Match], held: PolicySet, subject: Subject) -> list[Span]:
    """The stretches to mask, in order, none within another: what reaches the threshold of a policy that redacts."""
    redacting = [policy for policy in held.applying(subject).values() if policy.action_for(subject) == Action.ACTION_REDACT]
    spans: list[Span] = []
    for match in matches:
        for policy in redacting:
            if points_at(match, policy, subject):
                if spans and match.start < spans[-1].end:
                    last = spans[-1]
                    spans[-1] = Span(last.start, max(last.end, match.end), last.policy, last.whole or match.whole)
                else:
                    spans.append(Span(match.start, match.end, policy.name, match.whole))
                break
    return spans


def mask(text: str, spans: Sequence[Span]) -> str:
    """The text with the stretches masked; it keeps its length."""
    return words.mask(
        text,
        [(span.start, span.end) for span in spans if not span.whole],
        whole=[(span.start, span.end) for span in spans if span.whole],
    )


@cache
def rules_digest() -> str:
    """One hash of everything that the rules consist of."""
    digest = hashlib.sha256()
    code = (injection, identity, linear, normalise, personal, spoken, words)
    for path in (*words.RULES, linear.WEIGHTS, *(Path(str(module.__file__)) for module in code)):
        digest.update(path.read_bytes())
    return digest.hexdigest()
