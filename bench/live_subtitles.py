"""How late captions over HLS are, and what they cost, replayed from the events of a run.

    watchword run talk.opus --events talk.jsonl
    python -m bench.live_subtitles talk.jsonl --lengths 2 4 6 --delays 4 8 --streams 100

Of each word is told how long after its end the segment with its cue was listed, by the clock of the run and by what had been heard; how
many words were shown after their time; and what taking in the finals of a stream costs, and its playlist. A player that plays what it has
is this much and the time between two looks at the playlist behind.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from watchword.v1.transcript_pb2 import TranscriptSegment, Word

from pipeline.live_subtitles import LiveSubtitles, Rules
from pipeline.timeline import MediaTime
from services.gateway import playlists
from services.gateway.playlists import Listing


def final(event: dict[str, Any]) -> TranscriptSegment:
    """The message of a `final` event."""
    words = [
        Word(
            text=word["w"],
            media_start=MediaTime.of(word["start"]).to_proto(),
            media_end=MediaTime.of(word["end"]).to_proto(),
            glued=word.get("glued", False),
        )
        for word in event["words"]
    ]
    return TranscriptSegment(
        id=event["id"],
        is_final=True,
        text=event["text"],
        words=words,
        language=event["language"],
        media_start=MediaTime.of(event["media_start"]).to_proto(),
        media_end=MediaTime.of(event["media_end"]).to_proto(),
    )


def replay(events: Sequence[dict[str, Any]], rules: Rules) -> tuple[LiveSubtitles, list[tuple[float, float]]]:
    """The track in the end, and of each word how long after its end it was listed: by the clock, and by what had been heard."""
    track = LiveSubtitles(rules)
    unlisted: list[float] = []
    waits: list[tuple[float, float]] = []
    heard, count = 0.0, 0
    for number, event in enumerate(events, 1):
        heard = max(heard, event["media_end"])
        if event["type"] == "final":
            unlisted += [word["end"] for word in event["words"]]
            track.say(final(event))
        else:
            track.hear(MediaTime.of(event["media_end"]))
        if number == len(events):
            track.end(MediaTime.of(heard))
        if track.stretches and track.stretches[-1].number >= count:
            count = track.stretches[-1].number + 1
            until = track.stretches[-1].end.seconds
            waits += [(event["emitted"] - end, heard - end) for end in unlisted if end <= until]
            unlisted = [end for end in unlisted if end > until]
    return track, waits


def cost(events: Sequence[dict[str, Any]], rules: Rules, streams: int) -> float:
    """Seconds of processor time for as many streams."""
    messages = [(final(event) if event["type"] == "final" else None, MediaTime.of(event["media_end"])) for event in events]
    begun = time.process_time()
    for _ in range(streams):
        track = LiveSubtitles(rules)
        for said, heard in messages:
            if said is not None:
                track.say(said)
            else:
                track.hear(heard)
    return time.process_time() - begun


def main() -> None:
    """Print a line for each length and delay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("events", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=[4])
    parser.add_argument("--delays", type=int, nargs="+", default=[8])
    parser.add_argument("--streams", type=int, default=20)
    arguments = parser.parse_args()
    told = [json.loads(line) for line in arguments.events.read_text(encoding="utf-8").splitlines()]
    events = [event for event in told if event["type"] in ("partial", "final", "statistics") and not event.get("translation_of")]
    seconds = events[-1]["media_end"]
    for length in arguments.lengths:
        for delay in arguments.delays:
            rules = Rules(length=MediaTime.of(length), delay=MediaTime.of(delay), kept=600 // length)
            track, waits = replay(events, rules)
            clock, heard = np.array(waits).T
            spent = cost(events, rules, arguments.streams) / arguments.streams / seconds
            listing = Listing(rules.length, 0.0, False)
            begun = time.process_time()
            for _ in range(100):
                playlists.media_playlist([(stretch, f"captions-0-{stretch.number}.vtt") for stretch in track.stretches], listing)
            playlist_ms = (time.process_time() - begun) * 10
            print(
                f"segments of {length} s, delay {delay} s: {len(waits)} words {clock.mean():.1f} s after their end, p95 "
                f"{np.percentile(clock, 95):.1f}, at most {clock.max():.1f}; by what was heard {heard.mean():.1f}, p95 "
                f"{np.percentile(heard, 95):.1f}, at most {heard.max():.1f}; {track.late} late; {spent * 1000:.3f} ms for a second of it, "
                f"a playlist {playlist_ms:.2f} ms"
            )


if __name__ == "__main__":
    main()
