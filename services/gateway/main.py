"""What the gateway is made of."""

from watchword.v1 import live_service_pb2_grpc, qa_service_pb2_grpc

from pipeline.bus import Bus
from services.gateway.hub import Hub
from services.gateway.servicer import LiveServicer, QaServicer
from services.rpc import channel
from services.serve import Parts, face_of
from services.settings import Settings


async def build(settings: Settings, bus: Bus) -> Parts:
    """The live face and the questions' face, and the hub that follows the bus."""
    hub = Hub(bus)
    memory = channel(settings.memory, settings)
    faces = [
        face_of(live_service_pb2_grpc, "LiveService", LiveServicer(bus, hub)),
        face_of(qa_service_pb2_grpc, "QaService", QaServicer(memory)),
    ]
    return Parts(faces, background=[hub.run], close=memory.close)
