"""What the sampler is made of."""

import asyncio

from watchword.v1 import sample_service_pb2_grpc

from pipeline.bus import Bus
from pipeline.media.decoders.choose import choose, factory, say
from pipeline.sample.options import Options
from pipeline.sample.stage import Sample
from pipeline.stage import Stage
from services.sampler.servicer import SampleServicer
from services.serve import Parts, face_of
from services.settings import Settings


async def build(settings: Settings, bus: Bus) -> Parts:
    """A decoder and a selector for each stream; no model."""
    choice = await asyncio.to_thread(choose, settings.decoder)
    say(choice)
    open_decoder = factory(choice, apart=settings.decoder_apart is not False)

    def make_stage(stream_id: str, options: Options = settings.sampling) -> Stage:
        return Sample(stream_id, options=options, open_decoder=open_decoder)

    servicer = SampleServicer(make_stage, settings.sampling)
    return Parts([face_of(sample_service_pb2_grpc, "SampleService", servicer)], {"sample": make_stage})
