"""One stream as a viewer takes it in: events to their sinks, and what is needed for the files written in the end."""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from watchword.v1 import answer_pb2, errors_pb2, events_pb2, scene_pb2, transcript_pb2

from services import events as json_events
from services.events import Event


class Sink(Protocol):
    """Something that is told every event."""

    def write(self, events: Iterable[Event]) -> None:
        """Take events in, in order."""
        ...


class Viewer:
    """Turns what was cleared into events, hands them on, and keeps the words: finals, scenes, answers and errors.

    Keyframes are handed to `pictures` and counted, not kept: a camera sends gigabytes of them.
    """

    def __init__(
        self,
        sinks: Iterable[Sink],
        *,
        pictures: Callable[[scene_pb2.Keyframe], None] = lambda _: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._sinks = list(sinks)
        self._pictures = pictures
        self._wall = wall
        self._started_at: float | None = None
        self.finals: list[transcript_pb2.TranscriptSegment] = []
        """Without those that have no words: they only take back what a partial said."""
        self.scenes: list[scene_pb2.SceneCaption] = []
        """The latest revision of each."""
        self.keyframes = 0
        self.answers: list[answer_pb2.Answer] = []
        self.errors: list[errors_pb2.ErrorEvent] = []
        self.statistics: Event | None = None
        """How well it was transcribed, as told last."""
        self.models: set[str] = set()
        """The models that had a part in it."""

    @property
    def told_anything(self) -> bool:
        """Whether anything at all was told."""
        return bool(self.finals or self.scenes or self.keyframes or self.answers or self.errors)

    def cleared(self, event: events_pb2.ClearedEvent, started_at: float | None) -> None:
        """Take in something that was said or shown; `started_at` is the Unix time at which the first packet was sent."""
        self._started_at = started_at if started_at is not None else self._started_at
        match event.WhichOneof("event"):
            case "segment" if event.segment.is_final and event.segment.text:
                self.finals.append(event.segment)
            case "caption":
                self._see(event.caption)
            case "keyframe":
                self.keyframes += 1
                self._pictures(event.keyframe)
            case _:
                pass
        self._tell(json_events.of_cleared(event, self._emitted()))

    def _see(self, caption: scene_pb2.SceneCaption) -> None:
        """Keep the latest of each scene, where it was told first."""
        for number, known in enumerate(self.scenes):
            if known.id == caption.id:
                self.scenes[number] = max(known, caption, key=lambda each: each.revision)
                return
        self.scenes.append(caption)

    def error(self, error: errors_pb2.ErrorEvent) -> None:
        """Take in a failure."""
        self.errors.append(error)
        self._tell([json_events.of_error(error, self._emitted())])

    def answer(self, answer: answer_pb2.Answer) -> None:
        """Take in an answer."""
        self.answers.append(answer)
        self._tell(json_events.of_answer(answer, self._emitted()))

    def _emitted(self) -> float:
        return 0.0 if self._started_at is None else self._wall() - self._started_at

    def _tell(self, told: list[Event]) -> None:
        self.models |= {event["model"] for event in told if event.get("model")}
        self.statistics = next((event for event in told if event["type"] == "statistics"), self.statistics)
        for sink in self._sinks:
            sink.write(told)
