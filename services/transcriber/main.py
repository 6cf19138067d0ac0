"""What the transcriber is made of."""

import asyncio

from watchword.v1 import transcribe_service_pb2_grpc

from pipeline.bus import Bus
from pipeline.stage import Stage
from pipeline.transcribe import model, vad
from pipeline.transcribe.stage import Transcribe
from services.serve import Parts, face_of
from services.settings import Settings
from services.transcriber.servicer import TranscribeServicer


async def build(settings: Settings, bus: Bus) -> Parts:
    """Whisper and the speech detector, shared by all streams."""
    transcriber = await asyncio.to_thread(model.load)
    detector = await asyncio.to_thread(vad.load_detector)

    def make_stage(stream_id: str) -> Stage:
        return Transcribe(stream_id, transcriber, detector)

    async def close() -> None:
        transcriber.close()
        detector.close()

    faces = [face_of(transcribe_service_pb2_grpc, "TranscribeService", TranscribeServicer(make_stage))]
    return Parts(faces, {"transcribe": make_stage}, close=close)
