"""Both ends of a question judged: what is asked before anyone answers, what is answered before anyone hears it."""

from collections.abc import AsyncIterator

from google.protobuf.duration_pb2 import Duration
from watchword.v1.answer_pb2 import Answer
from watchword.v1.safety_pb2 import Verdict

from pipeline.memory.store import EVERYTHING, Span
from pipeline.qa.answer import WITHHELD, Answerer, check, identity
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

    async def ask(self, stream_id: str, question: str, span: Span | None = None) -> AsyncIterator[str | Answer]:
        """See `Answerer`; of an answer that is withheld on its way, what was told before stays, and its text says that it ends there."""
        check(stream_id, question, span or EVERYTHING)
        asked = await self._judge.whole_text(question, stream_id=stream_id, subject=Subject.QUESTION)
        await self._audit(Item(stream_id, "", Subject.QUESTION, question, asked.text), asked.verdict)
        if not passes(asked.verdict):
            yield QUESTION_WITHHELD
            yield Answer(
                stream_id=stream_id,
                id=identity(stream_id, question, span or EVERYTHING),
                text=QUESTION_WITHHELD,
                verdict=asked.verdict,
                model=self.model,
            )
            return
        held, told, whole, raw = HeldBack(self._judge, stream_id, question=asked.text), "", None, ""
        async for part in self._answerer.ask(stream_id, question, span):
            if isinstance(part, Answer):
                whole = part
            elif held.withheld is None:
                raw += part
                if clear := await held.add(part):
                    told += clear
                    yield clear
        if whole is None:
            return
        ending = await held.end()
        answer = Answer()
        answer.CopyFrom(whole)
        rest = ending.rest if passes(ending.verdict) else f" {WITHHELD}" if told else WITHHELD
        answer.text = told + rest
        await self._judge_evidence(answer, withheld=not passes(ending.verdict))
        answer.question = asked.text
        answer.verdict.CopyFrom(ending.verdict)
        start, end = _span_of(whole)
        await self._audit(Item(stream_id, whole.id, Subject.ANSWER, raw, answer.text, start, end), ending.verdict)
        if rest:
            yield rest
        yield answer

    async def _judge_evidence(self, answer: Answer, *, withheld: bool) -> None:
        if withheld:
            answer.supported = False
            del answer.evidence[:]
        for number in reversed(range(len(answer.evidence))):
            evidence = answer.evidence[number]
            judged = self._judge.text(evidence.text, stream_id=answer.stream_id, subject=Subject.ANSWER)
            if passes(judged.verdict):
                evidence.text = judged.text
            else:
                del answer.evidence[number]

    async def _audit(self, item: Item, verdict: Verdict) -> None:
        record = self._auditor.record(item, verdict) if self._auditor is not None else None
        if record is not None and self._keep is not None:
            await self._keep(record)


def _span_of(answer: Answer) -> tuple[Duration | None, Duration | None]:
    """The media time that an answer's evidence spans; nothing where it has none."""
    if not answer.evidence:
        return None, None
    first = min((evidence.media_start for evidence in answer.evidence), key=MediaTime.from_proto)
    return first, max((evidence.media_end for evidence in answer.evidence), key=MediaTime.from_proto)
