"""Both ends of a question judged: what is asked before anyone answers, what is answered before anyone hears it."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing

from google.protobuf.duration_pb2 import Duration
from watchword.v1.answer_pb2 import Answer, Claim, Evidence, Retrieved
from watchword.v1.safety_pb2 import Verdict

from pipeline.memory.store import EVERYTHING, Span
from pipeline.qa.answer import WITHHELD, Answerer, Part, Turn, check, identity
from pipeline.safety.answers import HeldBack
from pipeline.safety.audit import Auditor, Item, Keep
from pipeline.safety.judge import Judge
from pipeline.safety.policy import Subject, passes
from pipeline.timeline import MediaTime

QUESTION_WITHHELD = "The question is withheld by the safety filter."


class ScreenedAnswerer:
    """An `Answerer` around another: it sees no question that is withheld, and nothing of its answers is told unjudged."""

    model = "screen"

    def __init__(self, answerer: Answerer, judge: Judge, *, auditor: Auditor | None = None, keep: Keep | None = None) -> None:
        """With an auditor and `keep`, verdicts that are not to allow are kept."""
        self._answerer = answerer
        self._judge = judge
        self._auditor = auditor
        self._keep = keep

    async def ask(
        self, stream_id: str, question: str, span: Span | None = None, *, beside: Sequence[str] = (), history: Sequence[Turn] = ()
    ) -> AsyncIterator[Part]:
        """See `Answerer`; of an answer that is withheld on its way, what was told before stays, and its text says that it ends there.

        Claims are told once their words have been.
        """
        span = span or EVERYTHING
        check(stream_id, question, span, beside)
        asked = await self._judge.whole_text(question, stream_id=stream_id, subject=Subject.QUESTION)
        await self._audit(Item(stream_id, "", Subject.QUESTION, question, asked.text), asked.verdict)
        if not passes(asked.verdict):
            yield QUESTION_WITHHELD
            answer_id = identity(stream_id, question, span, beside)
            yield Answer(stream_id=stream_id, id=answer_id, text=QUESTION_WITHHELD, verdict=asked.verdict, model=self.model)
            return
        held, told, whole, raw = HeldBack(self._judge, stream_id, question=asked.text), "", None, ""
        claims = _Claims(self._judge, stream_id)
        async with aclosing(self._answerer.ask(stream_id, question, span, beside=beside, history=history)) as parts:  # type: ignore[type-var]
            async for part in parts:
                if isinstance(part, Answer):
                    whole = part
                elif isinstance(part, Retrieved):
                    yield Retrieved(evidence=claims.passing(part.evidence))
                elif isinstance(part, Claim):
                    claims.add(part)
                elif held.withheld is None:
                    raw += part
                    if clear := await held.add(part):
                        told += clear
                        yield clear
                        for claim in claims.told(told):
                            yield claim
        if whole is None:
            return
        ending = await held.end()
        withheld = not passes(ending.verdict)
        rest = ending.rest if not withheld else f" {WITHHELD}" if told else WITHHELD
        answer = _ended(whole, asked.text, told + rest, ending.verdict, [] if withheld else claims.passing(whole.evidence))
        start, end = _span_of(whole)
        await self._audit(Item(stream_id, whole.id, Subject.ANSWER, raw, answer.text, start, end), ending.verdict)
        if rest:
            yield rest
        if not withheld:
            for claim in claims.told(answer.text):
                yield claim
            answer.claims.extend(claims.all_told)
        yield answer

    async def _audit(self, item: Item, verdict: Verdict) -> None:
        record = self._auditor.record(item, verdict) if self._auditor is not None else None
        if record is not None and self._keep is not None:
            await self._keep(record)


class _Claims:
    """The claims of one answer, told once the words that make them have been; what they cite is judged too."""

    def __init__(self, judge: Judge, stream_id: str) -> None:
        self._judge, self._stream_id = judge, stream_id
        self._waiting: list[Claim] = []
        self.all_told: list[Claim] = []

    def add(self, claim: Claim) -> None:
        """Take a claim in; what is left of it must still be told in words."""
        self._waiting.append(claim)

    def told(self, text: str) -> Iterator[Claim]:
        """The claims that the words told so far contain as they were made; one that was masked is never told."""
        for claim in [each for each in self._waiting if each.text in text]:
            self._waiting.remove(claim)
            if citations := self.passing(claim.citations):
                told = Claim(text=claim.text, citations=citations)
                self.all_told.append(told)
                yield told

    def passing(self, evidence: Iterable[Evidence]) -> list[Evidence]:
        """What of the evidence may be told, masked where that is what its verdict asks for."""
        kept = []
        for each in evidence:
            judged = self._judge.text(each.text, stream_id=self._stream_id, subject=Subject.ANSWER) if each.text else None
            if judged is None or passes(judged.verdict):
                passing = Evidence()
                passing.CopyFrom(each)
                passing.text = judged.text if judged is not None else ""
                kept.append(passing)
        return kept


def _ended(whole: Answer, question: str, text: str, verdict: Verdict, evidence: Iterable[Evidence]) -> Answer:
    """The answer as it may be told; what was withheld supports nothing, and claims are added as they are told."""
    answer = Answer()
    answer.CopyFrom(whole)
    del answer.evidence[:], answer.claims[:]
    answer.evidence.extend(evidence)
    answer.question, answer.text = question, text
    answer.supported = whole.supported and passes(verdict)
    answer.verdict.CopyFrom(verdict)
    return answer


def _span_of(answer: Answer) -> tuple[Duration | None, Duration | None]:
    """The media time that an answer's evidence spans; nothing where it has none."""
    if not answer.evidence:
        return None, None
    first = min((evidence.media_start for evidence in answer.evidence), key=MediaTime.from_proto)
    return first, max((evidence.media_end for evidence in answer.evidence), key=MediaTime.from_proto)
