"""START HERE: the whole data flow, as data.

    PUBLISH ─┬─ audio ── TRANSCRIBE ── transcripts ─ SCREEN ───────────────────────────────────────────┬─ cleared ─┬─ INDEX → ASK
             └─ video ── SAMPLE ── keyframes ─ SCREEN ─┬─ shown ─ CAPTION, REFINE ─ captions ─ SCREEN ─┤           └─ GATEWAY → viewers
                                                       └───────────────────────────────────────────────┘
                                    every SCREEN ── audit ── KEEP-AUDIT → the log that nobody can change unseen

Every topic is keyed by stream id, so one stream keeps its order. Nothing flows back and no step joins two topics: the
only join is by media time, in the scene memory and at the viewer. Everything a viewer sees comes from `cleared` (and
`errors`), so nothing reaches a viewer unjudged. Bad input becomes an event on `errors` and the stream goes on.
"""

from dataclasses import dataclass
from enum import Enum

from google.protobuf.message import Message
from watchword.v1 import errors_pb2, events_pb2


class WhenFull(Enum):
    """What happens to the next record of a stream when the step that reads the topic is behind."""

    WAIT = "wait"
    """It waits, and so does everyone before it, up to the source."""
    KEYFRAMES_ONLY = "keyframes-only"
    """A live source's video goes on with the packets at which decoding can start; the rest is counted and left out."""
    DROP_LEAST_NOVEL = "drop-least-novel"
    """Of a live source's waiting keyframes the one with the least score goes, a cut last; it is counted."""


@dataclass(frozen=True)
class Topic:
    """A log of messages of one type, in order for each stream."""

    name: str
    message: type[Message]
    capacity: int
    """How many records of one stream may wait before a step, before `when_full` applies."""
    when_full: WhenFull = WhenFull.WAIT


@dataclass(frozen=True)
class Step:
    """A stage between topics, and the service that runs it."""

    name: str
    reads: str
    writes: tuple[str, ...]
    stage: str
    """Where the stage is defined, as "module:Class"."""
    service: str


TOPICS = {
    topic.name: topic
    for topic in (
        Topic("audio", events_pb2.AudioEvent, capacity=240),
        Topic("video", events_pb2.VideoEvent, capacity=40, when_full=WhenFull.KEYFRAMES_ONLY),
        Topic("transcripts", events_pb2.TranscriptEvent, capacity=256),
        Topic("keyframes", events_pb2.KeyframeEvent, capacity=64, when_full=WhenFull.DROP_LEAST_NOVEL),
        Topic("shown", events_pb2.KeyframeEvent, capacity=64, when_full=WhenFull.DROP_LEAST_NOVEL),
        Topic("captions", events_pb2.CaptionEvent, capacity=256),
        Topic("cleared", events_pb2.ClearedEvent, capacity=1024),
        Topic("audit", events_pb2.AuditEvent, capacity=1024),
        Topic("errors", errors_pb2.ErrorEvent, capacity=1024),
    )
}

STEPS = {
    step.name: step
    for step in (
        Step("transcribe", "audio", ("transcripts",), "pipeline.transcribe.stage:Transcribe", "transcriber"),
        Step("sample", "video", ("keyframes",), "pipeline.sample.stage:Sample", "sampler"),
        Step("screen-transcripts", "transcripts", ("cleared", "audit"), "pipeline.safety.stage:ScreenTranscripts", "safety"),
        Step("screen-keyframes", "keyframes", ("shown", "cleared", "audit"), "pipeline.safety.stage:ScreenKeyframes", "safety"),
        Step("caption", "shown", ("captions",), "pipeline.caption.stage:Caption", "captioner"),
        Step("refine", "shown", ("captions",), "pipeline.caption.refine:Refine", "captioner"),
        Step("screen-captions", "captions", ("cleared", "audit"), "pipeline.safety.stage:ScreenCaptions", "safety"),
        Step("keep-audit", "audit", (), "pipeline.safety.audit_log:KeepAudit", "memory"),
        Step("index", "cleared", (), "pipeline.memory.stage:Index", "memory"),
    )
}

RETENTION_S = 86_400
"""How long a broker keeps records: a day. What a step has not read by then is lost to it, and so is the past to new viewers."""

SERVICES = ("transcriber", "sampler", "captioner", "safety", "memory", "gateway")
"""The processes: each runs the steps that name it; the gateway runs none and reads `cleared` and `errors`."""

BRANCHES = tuple(step.name for step in STEPS.values() if "cleared" in step.writes)
"""The steps that write `cleared`: a stream is complete when each of them has ended it."""


def writers(topic: str) -> frozenset[str]:
    """The steps that write a topic; none for the topics that publishers write."""
    return frozenset(step.name for step in STEPS.values() if topic in step.writes)
