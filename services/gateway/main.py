"""What the gateway is made of."""

from watchword.v1 import live_service_pb2_grpc, qa_service_pb2_grpc

from pipeline.bus import Bus
from services.gateway.feeds import Feeds
from services.gateway.hub import Hub
from services.gateway.servicer import LiveServicer, QaServicer
from services.rpc import channel
from services.serve import Parts, face_of
from services.settings import Settings


async def build(settings: Settings, bus: Bus) -> Parts:
    """The live face and the questions' face, the hub that follows the bus, and an HTTP face where one is wanted."""
    hub = Hub(bus)
    memory = channel(settings.memory, settings)
    faces = [
        face_of(live_service_pb2_grpc, "LiveService", LiveServicer(bus, hub)),
        face_of(qa_service_pb2_grpc, "QaService", QaServicer(memory)),
    ]
    background = [hub.run]
    if settings.http:
        from services.gateway.http import HttpFace

        feeds = Feeds(qa_service_pb2_grpc.QaServiceStub(memory).Stand, settings.memory)
        background.append(HttpFace(feeds, settings).run)
    return Parts(faces, background=background, close=memory.close)
