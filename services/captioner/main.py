"""What the captioner is made of."""

import asyncio

from watchword.v1 import caption_service_pb2_grpc

from pipeline.bus import Bus
from pipeline.caption import model
from pipeline.caption.model import Captioner
from pipeline.caption.second_look import SecondLook, load_features
from pipeline.caption.stage import Caption
from pipeline.stage import Stage
from services.captioner.servicer import CaptionServicer
from services.serve import Parts, face_of
from services.settings import Settings


async def build(settings: Settings, bus: Bus) -> Parts:
    """The captioner that the settings name, shared by all streams."""
    captioner: Captioner = await asyncio.to_thread(model.load, settings.captioner, directory=settings.captioner_model)
    if settings.second_look:
        captioner = SecondLook(captioner, await asyncio.to_thread(load_features))

    def make_stage(stream_id: str) -> Stage:
        return Caption(stream_id, captioner)

    return Parts([face_of(caption_service_pb2_grpc, "CaptionService", CaptionServicer(make_stage))], {"caption": make_stage})
