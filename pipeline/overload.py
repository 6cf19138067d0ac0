"""What is left out when a live source is faster than the step that reads it: the rules of `graph.WhenFull`."""

from collections.abc import Sequence

from google.protobuf.message import Message
from watchword.v1 import events_pb2, scene_pb2

from pipeline.media.chunks import thin

KEPT_REASONS = (scene_pb2.KEYFRAME_REASON_FIRST, scene_pb2.KEYFRAME_REASON_CUT)
"""Keyframes that open a shot are the last to go: without them a whole shot goes undescribed."""


def keyframes_only(event: Message) -> Message | None:
    """A video event with only the packets at which decoding can start; `None` when there is none. Other events stay."""
    if not isinstance(event, events_pb2.VideoEvent) or event.WhichOneof("event") != "chunk":
        return event
    chunk = thin(event.chunk)
    return None if chunk is None else events_pb2.VideoEvent(chunk=chunk)


def least_novel(waiting: Sequence[Message]) -> int | None:
    """The index of the keyframe to leave out: the least score, one that opens a shot last; `None` when none waits."""
    keyframes = [
        (event.keyframe.reason in KEPT_REASONS, event.keyframe.score, index)
        for index, event in enumerate(waiting)
        if isinstance(event, events_pb2.KeyframeEvent) and event.WhichOneof("event") == "keyframe"
    ]
    return min(keyframes)[2] if keyframes else None
