"""A segment that someone is speaking: where it is, what of it stands, and what was told of it."""

from dataclasses import dataclass, field

from watchword.v1 import events_pb2

from pipeline.transcribe import messages
from pipeline.transcribe.language import Belief
from pipeline.transcribe.stability import Standing
from pipeline.transcribe.words import HeardWord


@dataclass
class OpenSegment:
    """Positions are absolute sample numbers."""

    start: int
    stepped: int
    """Up to where it was heard for its latest partial."""
    tried: int
    """Up to where it was last heard for a final."""
    standing: Standing = field(default_factory=Standing)
    said: tuple[str, int] | None = None
    """Text and number of stable words of the latest partial."""
    revision: int = 0
    """Of the next that is told."""

    def event(
        self, stream_id: str, end: int, words: tuple[HeardWord, ...], *, stable: int, belief: Belief, model: str
    ) -> events_pb2.TranscriptEvent:
        """What is told of it next, up to `end`: its words, of which the first `stable` are promised."""
        self.revision += 1
        return messages.segment(stream_id, self.start, end, words, stable=stable, revision=self.revision - 1, belief=belief, model=model)
