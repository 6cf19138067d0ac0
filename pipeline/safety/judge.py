"""The one who judges: text by rules, pictures by a model, both to verdicts. Shared by all streams; keeps no state."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from watchword.v1.safety_pb2 import Action, Verdict

from pipeline.safety import words
from pipeline.safety.model import ImageClassifier
from pipeline.safety.policy import POLICIES, Kind, Policy, decide, highest, passes, unscored


@dataclass(frozen=True)
class Judged:
    """A text and what is said of it."""

    text: str
    """What may pass: masked where the action is to redact, empty where nothing may."""
    verdict: Verdict


@dataclass(frozen=True)
class JudgedWords:
    """A text given also word by word, and what is said of it."""

    text: str
    words: tuple[str, ...]
    """As many as were given; empty where nothing may pass."""
    verdict: Verdict


class Judge:
    """Judges text and pictures under one set of policies."""

    def __init__(self, classifier: ImageClassifier, *, policies: Mapping[str, Policy] = POLICIES) -> None:
        self._classifier = classifier
        self._policies = policies

    def text(self, text: str) -> Judged:
        """Judge a text; takes well under a millisecond a sentence."""
        matches = words.find(text)
        verdict = self._decide([words.score(matches)])
        if not passes(verdict):
            return Judged("", verdict)
        return Judged(words.mask(text, self._redacted(matches)), verdict)

    def transcript(self, text: str, parts: Sequence[str]) -> JudgedWords:
        """Judge a text that is also known word by word; both are masked, and what either shows counts for both."""
        line = " ".join(parts)
        matches_line = words.find(line)
        matches_text = matches_line if text == line else words.find(text)
        verdict = self._decide([words.score(matches_text), words.score(matches_line)])
        if not passes(verdict):
            return JudgedWords("", (), verdict)
        masked = words.mask(line, self._redacted(matches_line))
        starts = accumulate((len(part) + 1 for part in parts), initial=0)
        return JudgedWords(
            words.mask(text, self._redacted(matches_text)),
            tuple(masked[start : start + len(part)] for start, part in zip(starts, parts, strict=False)),
            verdict,
        )

    def lines(self, text: str, lines: Sequence[str]) -> tuple[Judged, tuple[str, ...]]:
        """Judge a text with lines that belong to it, as a description with words read in the picture.

        A line that must not pass is left out, and all are when only together they break a policy; the text's verdict
        then is at least `ACTION_REDACT` and says so. Where the text itself must not pass, no line does.
        """
        judged = self.text(text)
        if not passes(judged.verdict):
            return judged, ()
        each = [self.text(line) for line in lines]
        kept = tuple(line.text for line in each if passes(line.verdict))
        together = self.text(" ".join(lines)).verdict
        if lines and not passes(together) and len(kept) == len(lines):
            kept = ()
        parts = [judged.verdict, *(line.verdict for line in each), together]
        scores = highest({score.policy: score.probability for score in part.scores} for part in parts)
        verdict = self._decide([scores])
        if not passes(verdict):
            verdict.action = Action.ACTION_REDACT
            verdict.cause = f"on-screen text left out: {verdict.cause}"
        return Judged(judged.text, verdict), kept

    async def image(self, jpeg: bytes) -> Verdict:
        """Judge a JPEG; raises `MediaUndecodable` where there is no picture to judge."""
        scores = await self._classifier.classify(jpeg)
        wanted = {name: probability for name, probability in scores.items() if name in self._policies}
        verdict = decide(Kind.PICTURE, wanted, model=self._classifier.name, policies=self._policies)
        if verdict.action == Action.ACTION_REDACT:
            # Nothing can be masked in a picture.
            verdict.action = Action.ACTION_BLOCK
        return verdict

    def unscored(self, kind: Kind) -> tuple[str, ...]:
        """The policies about which this judge can say nothing."""
        covered = words.policies() if kind is Kind.TEXT else self._classifier.policies
        return unscored(kind, covered, self._policies)

    def close(self) -> None:
        """Let go of the models."""
        self._classifier.close()

    def _decide(self, parts: Iterable[Mapping[str, float]]) -> Verdict:
        scores = {name: probability for name, probability in highest(parts).items() if name in self._policies}
        return decide(Kind.TEXT, scores, model=words.MODEL, policies=self._policies)

    def _redacted(self, matches: Iterable[words.Match]) -> list[tuple[int, int]]:
        """The spans to mask: what reaches the threshold of a policy that redacts."""
        spans = []
        for match in matches:
            policy = self._policies.get(match.policy)
            if policy and policy.action == Action.ACTION_REDACT and match.probability >= policy.thresholds[Kind.TEXT]:
                spans.append((match.start, match.end))
        return spans
