"""What the safety filter is made of."""

import asyncio

from watchword.v1 import safety_service_pb2_grpc

from pipeline.bus import Bus
from pipeline.safety import model
from pipeline.safety.audit import Auditor
from pipeline.safety.calls import CalledAudit
from pipeline.safety.judge import Judge
from pipeline.safety.stage import ScreenCaptions, ScreenKeyframes, ScreenTranscripts
from services.safety.servicer import SafetyServicer
from services.screening import audit_keys, book_of, load_scorers
from services.serve import Parts, face_of
from services.settings import Settings


async def build(settings: Settings, bus: Bus) -> Parts:
    """One judge for all streams and kinds."""
    keys = audit_keys(settings)
    book = book_of(settings)
    classifier, scorers = await asyncio.gather(asyncio.to_thread(model.load), asyncio.to_thread(load_scorers, settings))
    judge = Judge(classifier, book=book, scorers=scorers)
    auditor = Auditor(book, judge.digests(), keys=keys)

    async def close() -> None:
        judge.close()

    return Parts(
        [face_of(safety_service_pb2_grpc, "SafetyService", SafetyServicer(judge, auditor=auditor, keep=CalledAudit(bus, "safety").tell))],
        {
            "screen-transcripts": lambda stream_id: ScreenTranscripts(stream_id, judge, auditor),
            "screen-keyframes": lambda stream_id: ScreenKeyframes(stream_id, judge, auditor),
            "screen-captions": lambda stream_id: ScreenCaptions(stream_id, judge, auditor),
        },
        close=close,
    )
