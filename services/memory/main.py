"""What the scene memory is made of."""

import asyncio
from dataclasses import dataclass, field

from watchword.v1 import memory_service_pb2_grpc, qa_service_pb2_grpc
from watchword.v1.safety_pb2 import AuditRecord

from pipeline.bus import Bus
from pipeline.caption.model import aclose
from pipeline.memory.open import open_store
from pipeline.memory.retention import Retention
from pipeline.memory.stage import Index
from pipeline.memory.summarise import Summariser
from pipeline.qa import model
from pipeline.qa.answer import Answerer
from pipeline.qa.recordings import Looking, Recordings
from pipeline.qa.screened import ScreenedAnswerer
from pipeline.safety.audit import Auditor
from pipeline.safety.audit_log import AuditLog, KeepAudit
from pipeline.safety.calls import CalledAudit
from pipeline.safety.frames import WithFrames
from pipeline.safety.judge import Judge
from pipeline.safety.model import OnDemand
from pipeline.safety.model import load as load_pictures
from pipeline.stage import Stage
from services.memory.answerers import load_looks, load_reranker, make_answerers, rereading
from services.memory.servicer import Asking, QaServicer
from services.memory.standing import StandingQueries, read_standing
from services.memory.summaries import MemoryServicer
from services.screening import audit_keys, book_of, load_scorers
from services.serve import Parts, face_of
from services.settings import Settings


@dataclass(frozen=True)
class MemoryParts(Parts):
    """The memory's parts, and the answerer for callers in the same process."""

    answerer: Answerer = field(kw_only=True)
    """The one that is asked where none is named."""
    asking: Asking = field(kw_only=True)
    """All of them, for conversations."""
    recordings: Recordings = field(kw_only=True)
    """Where streams' files lie; whoever reads a stream from a file says so here."""


async def build(settings: Settings, bus: Bus) -> MemoryParts:
    """The store with the audit log and the embedder, shared by indexing, keeping, summarising and answering."""
    keys = audit_keys(settings)
    book = book_of(settings)
    embedder = await asyncio.to_thread(model.load)
    store = await asyncio.to_thread(open_store, settings.store)
    log = AuditLog(store.database, key=keys.chain if keys is not None else b"")
    # Pictures out of a recording were judged by nobody yet; only an answerer that looks again is shown any.
    sees = bool(settings.vlm or settings.recordings)
    pictures = await asyncio.to_thread(load_pictures) if settings.vlm else OnDemand()
    judge = Judge(pictures, book=book, scorers=await asyncio.to_thread(load_scorers, settings, pictures=sees))

    auditor = Auditor(book, judge.digests(), keys=keys)
    called = CalledAudit(bus, "memory")

    async def keep(record: AuditRecord) -> None:
        # It is in the log before the answer is told; by way of the topic it comes here once more, which changes nothing.
        await log.append(record)
        await called.tell(record)

    async def passing(jpeg: bytes, stream_id: str) -> bytes:
        return (await judge.picture(jpeg, stream_id=stream_id)).jpeg

    async def has_ended(stream_id: str) -> bool:
        state = await store.stream(stream_id)
        return state is not None and state.ended

    recordings = Recordings(settings.recordings)
    looks = await asyncio.to_thread(load_looks, settings, embedder)
    reranker = await asyncio.to_thread(load_reranker, settings)
    looking, reread = Looking(store, recordings, passing), rereading(store, recordings, passing)
    made = await asyncio.to_thread(make_answerers, settings, store, embedder, look=looking, looks=looks, reranker=reranker, reread=reread)
    answerers = {name: ScreenedAnswerer(answerer, judge, auditor=auditor, keep=keep) for name, answerer in made.items()}
    kept = read_standing(settings.standing) if settings.standing is not None else ()
    standing = StandingQueries(bus, embedder, kept, has_ended=has_ended)

    def make_stage(stream_id: str) -> Stage:
        return WithFrames(stream_id, Index(stream_id, store, embedder, looks), log)

    def keep_audit(stream_id: str) -> Stage:
        return KeepAudit(stream_id, log)

    async def close() -> None:
        judge.close()
        await reread.close()
        for answerer in made.values():
            await aclose(answerer)
        for model_of in (looks, reranker):
            if model_of is not None:
                await model_of.close()
        await embedder.close()
        await store.close()

    answerer = next(iter(answerers.values()))
    faces = [
        face_of(qa_service_pb2_grpc, "QaService", QaServicer(answerers, standing)),
        face_of(memory_service_pb2_grpc, "MemoryService", MemoryServicer(store)),
    ]
    return MemoryParts(
        faces,
        {"keep-audit": keep_audit, "index": make_stage},
        background=[standing.run, Summariser(store).run, Retention(store, settings.retention).run],
        close=close,
        answerer=answerer,
        asking=Asking(answerers),
        recordings=recordings,
    )
