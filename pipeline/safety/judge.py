"""Judges items under policies: text by rules, pictures by a classifier, both by models that read policies. Shared by all streams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from watchword.v1 import safety_pb2
from watchword.v1.safety_pb2 import Action, Verdict

from pipeline import telemetry
from pipeline.safety import pictures, words
from pipeline.safety.book import Book, shipped
from pipeline.safety.findings import NOTHING_ELSE, Said, Span, find, mask, points_at, rules_digest, spans_to_mask
from pipeline.safety.model import ImageClassifier
from pipeline.safety.policy import Policy, PolicySet, Subject, decide, highest, passes, strictest
from pipeline.safety.scorer import NOTHING, PolicyScorer, Scored, ask
from pipeline.safety.words import Match

DEADLINE_S = 5.0
"""How long a model may take for one item, before its policies' `on_error` decides."""


@dataclass(frozen=True)
class Judged:
    """A text and what is said of it."""

    text: str
    """What may pass: masked where the action is to redact, empty where nothing may."""
    verdict: Verdict


@dataclass(frozen=True)
class MaskedWords:
    """A row of words that was masked, from the first to the last of them."""

    policy: str
    first: int
    last: int


@dataclass(frozen=True)
class JudgedWords:
    """A text given also word by word, and what is said of it."""

    text: str
    words: tuple[str, ...]
    """As many as were given; empty where nothing may pass."""
    verdict: Verdict
    masked: tuple[MaskedWords, ...] = ()
    """Which words were masked, in order; to those belong the verdict's redactions where there are as many."""


@dataclass(frozen=True)
class JudgedPicture:
    """A picture and what is said of it."""

    jpeg: bytes
    """What may pass: pixelated or replaced where the action is to redact, empty where nothing may."""
    verdict: Verdict


class Judge:
    """Judges text and pictures under the policies that hold for their stream."""

    def __init__(
        self,
        classifier: ImageClassifier,
        *,
        book: Book | None = None,
        scorers: Sequence[PolicyScorer] = (),
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """The policies of the `book` hold, which may change; without one, those that come with Watchword."""
        self._classifier = _AsScorer(classifier)
        self._book = book or shipped()
        self._scorers = (self._classifier, *scorers)
        self._deadline_s = deadline_s

    @property
    def book(self) -> Book:
        """The policies by which it judges."""
        return self._book

    def digests(self) -> dict[str, str]:
        """SHA-256 of rules and weights by the names that verdicts cite, in hexadecimal; empty where unknown."""
        return {words.MODEL: rules_digest(), **{scorer.name: scorer.digest for scorer in self._scorers}}

    def text(self, text: str, *, stream_id: str = "", subject: Subject = Subject.SPEECH) -> Judged:
        """Judge a text by rules alone; takes well under a millisecond a sentence. Raises `MessageInvalid` for one that is too long."""
        return self._text(text, self._book.of(stream_id), subject, NOTHING)

    async def whole_text(self, text: str, *, stream_id: str = "", subject: Subject = Subject.SPEECH, question: str = "") -> Judged:
        """Judge a text, for an answer with its question, by rules, and by models where they are configured; raises as `text`."""
        held = self._book.of(stream_id)
        return self._text(text, held, subject, await self._ask(text, held, subject, question))

    def transcript(
        self, text: str, parts: Sequence[str], *, glued: Sequence[bool] = (), said: Said = NOTHING_ELSE, stream_id: str = ""
    ) -> JudgedWords:
        """Judge a text that is also known word by word, by rules; both are masked, and what either shows counts for both.

        `glued` says of each word whether no space stands before it; none are where it is empty. `said` is what else is known of it.
        """
        return self._transcript(text, parts, glued, said, self._book.of(stream_id), NOTHING)

    async def whole_transcript(
        self, text: str, parts: Sequence[str], *, glued: Sequence[bool] = (), said: Said = NOTHING_ELSE, stream_id: str = ""
    ) -> JudgedWords:
        """As `transcript`, and by models where they are configured."""
        held = self._book.of(stream_id)
        return self._transcript(text, parts, glued, said, held, await self._ask(text, held, Subject.SPEECH))

    async def lines(self, text: str, lines: Sequence[str], *, stream_id: str = "") -> tuple[Judged, tuple[str | None, ...]]:
        """Judge a text with lines that belong to it, as a description with words read in the picture; models hear the lines as one text.

        What may pass of each line, `None` for one that must not; all are `None` where those that might pass break a policy
        together. The text's verdict then is at least `ACTION_REDACT` and says so. Where the text itself must not pass, no line does.
        """
        held = self._book.of(stream_id)
        of_text = await self._ask(text, held, Subject.DESCRIPTION)
        of_lines = await self._ask("\n".join(lines), held, Subject.DESCRIPTION) if lines else NOTHING
        return self._lines(text, lines, held, of_text, of_lines)

    async def picture(self, jpeg: bytes, *, stream_id: str = "") -> JudgedPicture:
        """Judge a JPEG and say what of it may pass; raises `MediaUndecodable` where there is no picture to judge."""
        held = self._book.of(stream_id)
        scored = await self._ask(jpeg, held, Subject.FRAME)
        verdict = self._decide(held, Subject.FRAME, {}, scored, model=self._classifier.name)
        if verdict.action == Action.ACTION_REDACT:
            redacting = [policy for policy in _violated(held, Subject.FRAME, verdict) if policy.action_for(Subject.FRAME) == verdict.action]
            return JudgedPicture(pictures.redact(jpeg, {policy.frames for policy in redacting}), verdict)
        return JudgedPicture(jpeg if passes(verdict) else b"", verdict)

    def hears(self, subject: Subject, *, stream_id: str = "") -> bool:
        """Whether models, beside rules, judge a stream's items of this subject, so that judging takes time."""
        policies = self._book.of(stream_id).applying(subject).values()
        return any(scorer.covers(policy, subject) for scorer in self._scorers for policy in policies)

    def close(self) -> None:
        """Let go of the models."""
        for scorer in self._scorers:
            scorer.close()

    async def _ask(self, content: str | bytes, held: PolicySet, subject: Subject, question: str = "") -> Scored:
        if content == "":
            # There is nothing to hear in it; bytes that are no picture are for the classifier to refuse.
            return NOTHING
        policies = list(held.applying(subject).values())
        return await ask(self._scorers, content, subject, policies, deadline_s=self._deadline_s, question=question)

    def _text(self, text: str, held: PolicySet, subject: Subject, scored: Scored) -> Judged:
        found = find(text, held, subject)
        verdict = self._decide(held, subject, found.scores, scored)
        spans = spans_to_mask(found.matches, held, subject)
        _withhold_what_cannot_be_masked(verdict, found.matches, held, subject)
        if not passes(verdict):
            return Judged("", verdict)
        _tell_redactions(verdict, spans)
        return Judged(mask(text, spans), verdict)

    def _transcript(
        self, text: str, parts: Sequence[str], glued: Sequence[bool], said: Said, held: PolicySet, scored: Scored
    ) -> JudgedWords:
        line, starts = _line(parts, glued)
        found_line = find(line, held, Subject.SPEECH, said)
        found_text = found_line if text == line else find(text, held, Subject.SPEECH, said)
        verdict = self._decide(held, Subject.SPEECH, highest([found_text.scores, found_line.scores]), scored)
        spans = spans_to_mask(found_text.matches, held, Subject.SPEECH)
        spans_line = spans if text == line else spans_to_mask(found_line.matches, held, Subject.SPEECH)
        _withhold_what_cannot_be_masked(verdict, [*found_text.matches, *found_line.matches], held, Subject.SPEECH)
        if not passes(verdict):
            return JudgedWords("", (), verdict)
        _tell_redactions(verdict, spans)
        masked = mask(line, spans_line)
        touched = []
        for span in spans_line:
            hit = [
                number
                for number, (start, part) in enumerate(zip(starts, parts, strict=True))
                if start < span.end and span.start < start + len(part)
            ]
            if hit:
                touched.append(MaskedWords(span.policy, hit[0], hit[-1]))
        return JudgedWords(
            mask(text, spans),
            tuple(masked[start : start + len(part)] for start, part in zip(starts, parts, strict=True)),
            verdict,
            tuple(touched),
        )

    def _lines(
        self, text: str, lines: Sequence[str], held: PolicySet, of_text: Scored, of_lines: Scored
    ) -> tuple[Judged, tuple[str | None, ...]]:
        subject = Subject.DESCRIPTION
        judged = self._text(text, held, subject, of_text)
        if not passes(judged.verdict):
            return judged, (None,) * len(lines)
        alone = [self._text(line, held, subject, NOTHING) for line in lines]
        kept: list[str | None] = [line.text if passes(line.verdict) else None for line in alone]
        left = [number for number, text in enumerate(kept) if text is not None]
        together, starts = _line([lines[number] for number in left], ())
        # What models say of all lines holds for those that are left: nobody knows which of them they mean.
        rest = self._text(together, held, subject, of_lines)
        for number, start in zip(left, starts, strict=False):
            masked = rest.text[start : start + len(lines[number])]
            kept[number] = _masked_in_either(alone[number].text, masked) if passes(rest.verdict) else None
        parts = [judged.verdict, *(line.verdict for line in alone), rest.verdict]
        scores = highest({score.policy: score.probability for score in part.scores} for part in parts)
        failed = of_text.failed | of_lines.failed
        models = {**of_text.models, **of_lines.models}
        verdict = self._verdict(held, subject, scores, models, failed)
        verdict.redactions.extend(judged.verdict.redactions)
        if not passes(verdict) or None in kept:
            verdict.action = strictest([Action.ACTION_REDACT, verdict.action]) if passes(verdict) else Action.ACTION_REDACT
            verdict.cause = f"on-screen text left out: {verdict.cause}"
        return Judged(judged.text, verdict), tuple(kept)

    def _decide(
        self, held: PolicySet, subject: Subject, rules: Mapping[str, float], scored: Scored, *, model: str = words.MODEL
    ) -> Verdict:
        scores: dict[str, float] = {}
        models: dict[str, str] = {}
        for name, policy in held.applying(subject).items():
            by_rules = [rules[rule] for rule in policy.judges() if rule in rules]
            if by_rules:
                scores[name] = max(by_rules)
            if name in scored.scores and scored.scores[name] >= scores.get(name, -1.0):
                scores[name], models[name] = scored.scores[name], scored.models[name]
        return self._verdict(held, subject, scores, models, scored.failed, model=model)

    def _verdict(
        self,
        held: PolicySet,
        subject: Subject,
        scores: Mapping[str, float],
        models: Mapping[str, str],
        failed: frozenset[str],
        *,
        model: str = words.MODEL,
    ) -> Verdict:
        applying = held.applying(subject)
        verdict = decide(subject, scores, model=model, policies=held.policies)
        verdict.policy_version = held.version
        verdict.failed.extend(sorted(failed))
        verdict.unscored.extend(sorted(name for name in applying if name not in scores and name not in failed))
        if failed:
            verdict.action = strictest([verdict.action, *(applying[name].on_error[subject] for name in failed)])
            told = f"could not be judged for {', '.join(sorted(failed))}"
            verdict.cause = f"{verdict.cause}; {told}" if verdict.cause else told
        elif not applying:
            # No policy asks anything of it.
            verdict.action = Action.ACTION_ALLOW
        for score in verdict.scores:
            other = models.get(score.policy, model)
            score.model = other if other != model else ""
        telemetry.VERDICTS.labels(subject.value, Action.Name(verdict.action)).inc()
        return verdict


class _AsScorer:
    """A picture classifier, which knows policies by name, as one that is given them."""

    def __init__(self, classifier: ImageClassifier) -> None:
        self._classifier = classifier
        self.name = classifier.name
        self.digest = str(getattr(classifier, "digest", ""))

    def covers(self, policy: Policy, subject: Subject) -> bool:
        return subject is Subject.FRAME and bool({*policy.judges()} & {*self._classifier.policies})

    async def score(self, content: str | bytes, subject: Subject, policies: Sequence[Policy], *, question: str = "") -> Mapping[str, float]:
        assert isinstance(content, bytes)
        scores = await self._classifier.classify(content)
        known = {policy.name: [scores[rule] for rule in policy.judges() if rule in scores] for policy in policies}
        return {name: max(found) for name, found in known.items() if found}

    def close(self) -> None:
        self._classifier.close()


def _violated(held: PolicySet, subject: Subject, verdict: Verdict) -> list[Policy]:
    applying = held.applying(subject)
    return [
        applying[score.policy]
        for score in verdict.scores
        if score.policy in applying and applying[score.policy].violated_by(score.probability, subject)
    ]


def _withhold_what_cannot_be_masked(verdict: Verdict, matches: Sequence[Match], held: PolicySet, subject: Subject) -> None:
    """A model tells that a text is wrong, not where: a policy that redacts and has no stretch to mask withholds."""
    if verdict.action != Action.ACTION_REDACT:
        return
    loose = [
        policy.name
        for policy in _violated(held, subject, verdict)
        if policy.action_for(subject) == Action.ACTION_REDACT and not any(points_at(match, policy, subject) for match in matches)
    ]
    if loose:
        verdict.action = Action.ACTION_BLOCK
        verdict.cause = f"{verdict.cause}; nothing in it could be masked for {', '.join(sorted(loose))}"


def _tell_redactions(verdict: Verdict, spans: Sequence[Span]) -> None:
    verdict.redactions.extend(safety_pb2.Redaction(policy=span.policy, start=span.start, end=span.end) for span in spans)


def _line(parts: Sequence[str], glued: Sequence[bool]) -> tuple[str, list[int]]:
    """Words as one line, and where each starts."""
    gaps = ["" if number == 0 or (number < len(glued) and glued[number]) else " " for number in range(len(parts))]
    starts = list(accumulate((len(gap) + len(part) for gap, part in zip(gaps, parts, strict=True)), initial=0))
    return "".join(gap + part for gap, part in zip(gaps, parts, strict=True)), [
        start + len(gap) for start, gap in zip(starts, gaps, strict=False)
    ]


def _masked_in_either(one: str, other: str) -> str:
    """A text that was masked twice, of which nothing stays that was masked once."""
    return "".join("*" if "*" in pair else pair[0] for pair in zip(one, other, strict=True))
