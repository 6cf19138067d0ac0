"""Models that judge by a policy's own words: the port, and how several of them are asked within a deadline."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from pipeline import telemetry
from pipeline.errors import MediaUndecodable
from pipeline.safety.policy import Policy, Subject

_log = structlog.get_logger(__name__)


class PolicyScorer(Protocol):
    """Tells how likely content violates policies that it is given."""

    @property
    def name(self) -> str:
        """Its name, by which policies say that it may judge them."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of its weights, in hexadecimal; empty where they are not at hand, as behind a server."""
        ...

    def covers(self, policy: Policy, subject: Subject) -> bool:
        """Whether it can, and may, judge items of this subject under this policy."""
        ...

    async def score(self, content: str | bytes, subject: Subject, policies: Sequence[Policy], *, question: str = "") -> Mapping[str, float]:
        """The probability of a violation, 0 to 1, by policy name, for a text or a JPEG; for an answer with the `question`.

        A policy that it cannot score after all is left out, and counts as failed. Raises `MediaUndecodable` for bytes that are no picture.
        """
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...


@dataclass(frozen=True)
class Scored:
    """What models said, beside the rules."""

    scores: Mapping[str, float] = field(default_factory=dict)
    """Probability of a violation by policy name."""
    models: Mapping[str, str] = field(default_factory=dict)
    """By policy name, which model said so."""
    failed: frozenset[str] = frozenset()
    """Policies about which a model should have said something and did not."""


NOTHING = Scored()


async def ask(
    scorers: Sequence[PolicyScorer],
    content: str | bytes,
    subject: Subject,
    policies: Sequence[Policy],
    *,
    deadline_s: float,
    question: str = "",
) -> Scored:
    """Ask every scorer at once about the policies that it may judge; of two that judge one policy the higher score counts.

    A scorer that raises or is late leaves its policies `failed`, and one that says nothing of a policy leaves that one.
    `MediaUndecodable` is raised: it says something of the item, not of the model.
    """
    asked = [
        (scorer, wanted)
        for scorer in scorers
        if (wanted := [each for each in policies if each.applies(subject) and scorer.covers(each, subject)])
    ]
    if not asked:
        return NOTHING
    told = await asyncio.gather(*(_one(scorer, content, subject, wanted, deadline_s, question) for scorer, wanted in asked))
    scores: dict[str, float] = {}
    models: dict[str, str] = {}
    failed: set[str] = set()
    for (scorer, wanted), said in zip(asked, told, strict=True):
        failed |= {policy.name for policy in wanted} - said.keys()
        for name, probability in said.items():
            if probability >= scores.get(name, -1.0):
                scores[name], models[name] = probability, scorer.name
    return Scored(scores, models, frozenset(failed))


async def _one(
    scorer: PolicyScorer, content: str | bytes, subject: Subject, policies: Sequence[Policy], deadline_s: float, question: str
) -> Mapping[str, float]:
    """What a scorer says; nothing where it fails."""
    try:
        async with asyncio.timeout(deadline_s):
            return await scorer.score(content, subject, policies, question=question)
    except MediaUndecodable:
        raise
    except Exception as error:
        cause = "late" if isinstance(error, TimeoutError) else "failed"
        telemetry.CLASSIFIER_FAILURES.labels(scorer.name, cause).inc()
        _log.warning("classifier_failed", classifier=scorer.name, subject=subject.value, cause=cause, error=repr(error))
        return {}


def may_judge(name: str, policy: Policy, trained: Collection[str] | None) -> bool:
    """Whether a model may judge a policy: one that the policy names, or, where it names none, one that was trained for it.

    `trained` are the names of policies, `None` any.
    """
    if policy.judged_by:
        return name in policy.judged_by
    return trained is None or policy.name in trained
