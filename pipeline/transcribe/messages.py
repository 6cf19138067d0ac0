"""What is said of a stream, as messages, metrics and log lines."""

from collections.abc import AsyncIterator, Sequence

import structlog
from watchword.v1 import events_pb2, transcript_pb2

from pipeline import telemetry
from pipeline.transcribe.audio import media_time
from pipeline.transcribe.language import Belief
from pipeline.transcribe.words import HeardWord, written

_log = structlog.get_logger(__name__)


def segment_id(start: int) -> str:
    """The id of the segment that starts with the sample of this absolute number."""
    return f"segment-{media_time(start).millis}"


def segment(
    stream_id: str, start: int, end: int, words: Sequence[HeardWord], *, stable: int, revision: int, belief: Belief, model: str
) -> events_pb2.TranscriptEvent:
    """A partial of the segment from sample `start`, heard up to `end`, the first `stable` words of which are promised."""
    return events_pb2.TranscriptEvent(
        segment=transcript_pb2.TranscriptSegment(
            stream_id=stream_id,
            id=segment_id(start),
            words=[
                transcript_pb2.Word(
                    text=word.text,
                    media_start=word.start.to_proto(),
                    media_end=word.end.to_proto(),
                    probability=word.probability,
                    glued=word.glued,
                )
                for word in words
            ],
            stable=stable,
            text=written(words),
            media_start=media_time(start).to_proto(),
            media_end=media_time(end).to_proto(),
            language=belief.language,
            language_probability=belief.probability,
            model=model,
            revision=revision,
        )
    )


async def in_order(events: AsyncIterator[events_pb2.TranscriptEvent]) -> AsyncIterator[events_pb2.TranscriptEvent]:
    """What one item says: only the last partial, after all else, and none of what a final or a gap closes.

    How many partials there are depends on the pace, and readers tell a repetition by its place among what an item says.
    """
    partial: events_pb2.TranscriptEvent | None = None
    async for event in events:
        if event.HasField("segment") and not event.segment.is_final:
            partial = event
            continue
        if not event.HasField("stats"):
            partial = None
        yield event
    if partial is not None:
        yield partial


def report(stats: transcript_pb2.TranscriptStatistics) -> None:
    """Export the statistics and log them, without a word of what was said."""
    telemetry.report_captions(stats)
    _log.info(
        "captions",
        stream=stats.stream_id,
        words=stats.words,
        words_per_minute=round(stats.words_per_minute),
        stable_mean_s=round(stats.stable_latency.mean_s, 2),
        stable_p95_s=round(stats.stable_latency.p95_s, 2),
        final_mean_s=round(stats.final_latency.mean_s, 2),
        final_p95_s=round(stats.final_latency.p95_s, 2),
        flicker=round(stats.flicker, 3),
        real_time_factor=round(stats.real_time_factor, 3),
        words_refused=dict(stats.words_refused),
    )
