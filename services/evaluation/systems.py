"""What is evaluated: answerers in this process over the kept events, or a running system through its gateway."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import grpc
from watchword.v1 import answer_pb2, qa_service_pb2, qa_service_pb2_grpc
from watchword.v1.events_pb2 import ClearedEvent

from pipeline.errors import SettingInvalid, WatchwordError
from pipeline.evaluation.marking import Citation, Given, holds, overlaps
from pipeline.evaluation.questions import Question
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.stage import Index
from pipeline.memory.store import EVERYTHING, Kind, Moment, SceneStore, Scope
from pipeline.qa.answer import Answerer
from pipeline.qa.evidence import SEARCHED, Finder
from pipeline.qa.model import Embedder
from pipeline.qa.question import read
from pipeline.qa.recordings import Recordings
from pipeline.qa.reranker import Reranker
from pipeline.qa.retrieve import fuse
from pipeline.qa.visual import PictureEmbedder
from pipeline.timeline import MediaTime
from services.memory.answerers import make_answerers, rereading
from services.rpc import error_of
from services.settings import ANSWERERS, Settings

KINDS = {
    answer_pb2.EVIDENCE_KIND_SPEECH: "speech",
    answer_pb2.EVIDENCE_KIND_DESCRIPTION: "description",
    answer_pb2.EVIDENCE_KIND_ON_SCREEN_TEXT: "on-screen text",
}
EVIDENCE_OF = {"speech": {Kind.SPEECH}, "text": {Kind.ON_SCREEN_TEXT}, "picture": {Kind.DESCRIPTION, Kind.ON_SCREEN_TEXT}}
DEADLINE_S = 120.0
Make = Callable[[SceneStore, Embedder, PictureEmbedder | None, Recordings], Answerer]
Ranks = tuple[tuple[str, int | None], ...]


class System(Protocol):
    """Something that takes streams in and answers."""

    name: str

    async def learn(self, stream_id: str, events: Iterable[ClearedEvent], *, recording: Path | None = None) -> None:
        """Take in all that was cleared of a stream, and where its recording lies."""
        ...

    async def ask(self, stream_id: str, question: Question) -> Given:
        """Ask one question."""
        ...

    async def ranks(self, stream_id: str, question: Question) -> Ranks:
        """For each way of retrieving the rank of the first right moment; nothing where it cannot be seen."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class InProcess:
    """An answerer over a memory of its own."""

    def __init__(
        self, name: str, embedder: Embedder, make: Make, looks: PictureEmbedder | None = None, reranker: Reranker | None = None
    ) -> None:
        """With `looks` keyframes are found by what they look like; `reranker` takes part in what is "judged"."""
        self.name = name
        self._embedder, self._looks = embedder, looks
        self._store = SqliteStore()
        self._finder = Finder(self._store, embedder, reranker=reranker)
        self._recordings = Recordings()
        self._answerer = make(self._store, embedder, looks, self._recordings)

    async def learn(self, stream_id: str, events: Iterable[ClearedEvent], *, recording: Path | None = None) -> None:
        """See `System`."""
        if recording is not None:
            self._recordings.add(stream_id, recording)
        stage = Index(stream_id, self._store, self._embedder, self._looks)
        for event in events:
            async for _ in stage.process(event):
                pass
        async for _ in stage.flush():
            pass

    async def ask(self, stream_id: str, question: Question) -> Given:
        """See `System`."""
        return await given(self._answerer.ask(stream_id, question.text))

    async def ranks(self, stream_id: str, question: Question) -> Ranks:
        """See `System`."""
        if not question.times or question.kind not in EVIDENCE_OF:
            return ()
        read_question = read(question.text)
        vector = (await self._embedder.embed([question.text]))[0]
        hits = await self._store.search(Scope((stream_id,)), read_question.words, vector, limit=SEARCHED)
        ways = {"bm25": hits.by_words, "dense": hits.by_vector, "hybrid": fuse(hits, read_question.kinds, limit=SEARCHED)}
        ranked = tuple((way, _rank(question, [found.moment for found in ranking])) for way, ranking in ways.items())
        judged = await self._finder.find([stream_id], read_question, EVERYTHING)
        return (*ranked, ("hybrid, judged", _rank(question, [each.moment for each in judged])))

    async def close(self) -> None:
        """See `System`."""
        await self._store.close()


class Running:
    """A system that runs, asked through its gateway; what it knows it learnt before."""

    def __init__(self, address: str, channel: grpc.aio.Channel, answerer: str = "") -> None:
        self.name = f"{answerer or 'the answerer'} at {address}"
        self._answerer = answerer
        self._stub = qa_service_pb2_grpc.QaServiceStub(channel)

    async def learn(self, stream_id: str, events: Iterable[ClearedEvent], *, recording: Path | None = None) -> None:
        """Nothing: its streams were published to it."""

    async def ask(self, stream_id: str, question: Question) -> Given:
        """See `System`."""
        request = qa_service_pb2.AskRequest(stream_id=stream_id, question=question.text, answerer=self._answerer)
        return await given(self._parts(request))

    async def ranks(self, stream_id: str, question: Question) -> Ranks:
        """See `System`: its rankings cannot be seen from outside."""
        return ()

    async def close(self) -> None:
        """See `System`; the channel belongs to the caller."""

    async def _parts(self, request: qa_service_pb2.AskRequest) -> AsyncIterator[object]:
        try:
            async for response in self._stub.Ask(request, timeout=DEADLINE_S):
                yield getattr(response, response.WhichOneof("part"))
        except grpc.aio.AioRpcError as error:
            raise error_of(error, self.name) from error


def answerer_of(settings: Settings, name: str, reranker: Reranker | None = None) -> tuple[str, Make]:
    """The answerer of this name, or the one that the settings name; raises `SettingInvalid` where it is not set up."""
    name = name or settings.answerer
    if name not in ANSWERERS or (name != "extractive" and not getattr(settings, name)):
        raise SettingInvalid(f"--answerer {name}: it is not set up; WATCHWORD_{name.upper()} names its model")

    async def as_it_is(jpeg: bytes, stream_id: str) -> bytes:
        return jpeg  # nobody is shown anything

    def make(store: SceneStore, embedder: Embedder, looks: PictureEmbedder | None, recordings: Recordings) -> Answerer:
        return make_answerers(settings, store, embedder, looks=looks, reranker=reranker, reread=rereading(store, recordings, as_it_is))[
            name
        ]

    return name, make


async def given(parts: AsyncIterator[object]) -> Given:
    """The answer that comes in these parts, with the times of its coming."""
    begun = time.perf_counter()
    first_evidence = first_word = None
    answer = answer_pb2.Answer()
    failure = ""
    try:
        async for part in parts:
            now = time.perf_counter() - begun
            if isinstance(part, answer_pb2.Answer):
                answer = part
            elif isinstance(part, str):
                first_word = now if first_word is None else first_word
            elif isinstance(part, answer_pb2.Retrieved):
                first_evidence = now if first_evidence is None else first_evidence
    except WatchwordError as error:
        failure = str(error)
    cited = tuple(_citation(evidence) for evidence in answer.evidence)
    whole = time.perf_counter() - begun
    return Given(answer.text, answer.supported, cited, answer.confidence, first_evidence, first_word, whole, failure)


def _citation(evidence: answer_pb2.Evidence) -> Citation:
    start, end = (MediaTime.from_proto(time).seconds for time in (evidence.media_start, evidence.media_end))
    return Citation(KINDS.get(evidence.kind, "keyframe"), evidence.text, start, end)


def _rank(question: Question, moments: Sequence[Moment]) -> int | None:
    """A moment is right that is of the kind asked for, overlaps the true time and, where any of those does, holds the answer."""
    fitting = [
        (rank, moment)
        for rank, moment in enumerate(moments, start=1)
        if moment.kind in EVIDENCE_OF[question.kind] and overlaps(moment.start.seconds, moment.end.seconds, question.times)
    ]
    holding = [rank for rank, moment in fitting if holds(moment.text, question.accepted)]
    return min(holding or [rank for rank, _ in fitting], default=None)
