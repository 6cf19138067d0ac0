"""What is left out when a live source is faster than a step."""

import pytest
from google.protobuf.message import Message
from watchword.v1 import events_pb2, media_pb2, scene_pb2

from pipeline import overload

pytestmark = pytest.mark.unit

FIRST, CUT = scene_pb2.KEYFRAME_REASON_FIRST, scene_pb2.KEYFRAME_REASON_CUT
CHANGE, INTERVAL = scene_pb2.KEYFRAME_REASON_CHANGE, scene_pb2.KEYFRAME_REASON_INTERVAL


def video(*keyframes: bool) -> events_pb2.VideoEvent:
    packets = [media_pb2.Packet(pts=number, keyframe=keyframe, data=b"x") for number, keyframe in enumerate(keyframes)]
    return events_pb2.VideoEvent(chunk=media_pb2.MediaChunk(stream_id="a", sequence=3, packets=packets))


def keyframe(reason: scene_pb2.KeyframeReason, score: float) -> events_pb2.KeyframeEvent:
    return events_pb2.KeyframeEvent(keyframe=scene_pb2.Keyframe(reason=reason, score=score))


def test_of_a_chunk_the_packets_stay_at_which_decoding_can_start() -> None:
    event = video(False, True, False, True)
    thinned = overload.keyframes_only(event)
    assert isinstance(thinned, events_pb2.VideoEvent)
    assert [packet.pts for packet in thinned.chunk.packets] == [1, 3]
    assert (thinned.chunk.stream_id, thinned.chunk.sequence, thinned.chunk.thinned) == ("a", 3, True)
    assert len(event.chunk.packets) == 4


def test_a_chunk_without_such_a_packet_is_left_out() -> None:
    assert overload.keyframes_only(video(False, False)) is None


@pytest.mark.parametrize(
    "event",
    [
        events_pb2.VideoEvent(gap=media_pb2.Gap(stream_id="a")),
        events_pb2.VideoEvent(end=media_pb2.StreamEnd(stream_id="a")),
        events_pb2.AudioEvent(chunk=media_pb2.MediaChunk(stream_id="a")),
    ],
    ids=["gap", "end", "audio"],
)
def test_what_is_no_video_chunk_stays_as_it_is(event: Message) -> None:
    assert overload.keyframes_only(event) is event


def test_the_least_novel_keyframe_goes_first() -> None:
    assert overload.least_novel([keyframe(CHANGE, 0.4), keyframe(INTERVAL, 0.1), keyframe(CHANGE, 0.9)]) == 1


def test_a_keyframe_that_opens_a_shot_goes_last() -> None:
    assert overload.least_novel([keyframe(CUT, 0.2), keyframe(FIRST, 0.0), keyframe(CHANGE, 0.9)]) == 2
    assert overload.least_novel([keyframe(CUT, 0.2), keyframe(FIRST, 0.1)]) == 1


def test_of_equals_the_oldest_goes() -> None:
    assert overload.least_novel([keyframe(CHANGE, 0.5), keyframe(CHANGE, 0.5)]) == 0


def test_scene_borders_and_ends_are_never_left_out() -> None:
    waiting = [
        events_pb2.KeyframeEvent(scene=scene_pb2.SceneBoundary()),
        keyframe(CUT, 1.0),
        events_pb2.KeyframeEvent(end=media_pb2.StreamEnd()),
    ]
    assert overload.least_novel(waiting) == 1
    assert overload.least_novel(waiting[::2]) is None
