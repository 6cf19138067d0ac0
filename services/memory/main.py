"""What the scene memory is made of."""

import asyncio
from dataclasses import dataclass, field

from watchword.v1 import qa_service_pb2_grpc
from watchword.v1.safety_pb2 import Verdict

from pipeline.bus import Bus
from pipeline.qa import model
from pipeline.qa.answer import Answerer, ExtractiveAnswerer
from pipeline.qa.sqlite import SqliteStore
from pipeline.qa.stage import Index
from pipeline.safety.judge import Judge
from pipeline.safety.model import NoPictures
from pipeline.stage import Stage
from services.memory.servicer import QaServicer
from services.serve import Parts, face_of
from services.settings import Settings


@dataclass(frozen=True)
class MemoryParts(Parts):
    """The memory's parts, and the answerer for callers in the same process."""

    answerer: Answerer = field(kw_only=True)


async def build(settings: Settings, bus: Bus) -> MemoryParts:
    """The store and the embedder, shared by indexing and answering."""
    embedder = await asyncio.to_thread(model.load)
    store = await asyncio.to_thread(SqliteStore, settings.store)
    judge = Judge(NoPictures())

    def judge_text(text: str) -> tuple[str, Verdict]:
        judged = judge.text(text)
        return judged.text, judged.verdict

    answerer = ExtractiveAnswerer(store, embedder, judge_text)

    def make_stage(stream_id: str) -> Stage:
        return Index(stream_id, store, embedder)

    async def close() -> None:
        await embedder.close()
        await store.close()

    face = face_of(qa_service_pb2_grpc, "QaService", QaServicer(answerer))
    return MemoryParts([face], {"index": make_stage}, close=close, answerer=answerer)
