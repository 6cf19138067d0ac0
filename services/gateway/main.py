"""What the gateway is made of."""

from typing import TYPE_CHECKING

import grpc
from watchword.v1 import live_service_pb2_grpc, qa_service_pb2_grpc

from pipeline.bus import Bus
from services.gateway.hub import Hub
from services.gateway.servicer import LiveServicer, QaServicer
from services.gateway.subtitle_tracks import SubtitleTracks
from services.rpc import channel
from services.serve import Parts, face_of
from services.settings import Settings

if TYPE_CHECKING:
    from services.gateway.http import HttpFace


async def build(settings: Settings, bus: Bus) -> Parts:
    """The live face and the questions' face, the hub that follows the bus, and an HTTP face where one is wanted."""
    tracks = SubtitleTracks(settings.live_subtitles)
    hub = Hub(bus, followers=[tracks] if settings.http else [])
    memory = channel(settings.memory, settings)
    faces = [
        face_of(live_service_pb2_grpc, "LiveService", LiveServicer(bus, hub)),
        face_of(qa_service_pb2_grpc, "QaService", QaServicer(memory)),
    ]
    background = [hub.run]
    if settings.http:
        background.append(_http(hub, tracks, memory, settings).run)
    return Parts(faces, background=background, close=memory.close)


def _http(hub: Hub, tracks: SubtitleTracks, memory: grpc.aio.Channel, settings: Settings) -> "HttpFace":
    """The page and all that it stands on, captions for players, and standing queries."""
    from services.gateway.feeds import Feeds
    from services.gateway.hls import Hls
    from services.gateway.http import HttpFace
    from services.gateway.live import Streams
    from services.gateway.page_files import Page
    from services.gateway.questions import Questions, over
    from services.gateway.standing import Standing

    stub = qa_service_pb2_grpc.QaServiceStub(memory)
    standing = Standing(Feeds(stub.Stand, settings.memory))
    captions = Hls(tracks, settings.api_key)
    return HttpFace([Page(), Streams(hub), captions, Questions(over(stub, settings.memory)), standing], settings)
