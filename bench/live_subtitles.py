"""How late captions over HLS are, and what they cost, replayed from the events of a run.

    watchword run talk.opus --events talk.jsonl
    python -m bench.live_subtitles talk.jsonl --lengths 2 4 6 --delays 4 8 --streams 100

Of each word is told how long after its end the segment with its cue was listed, by the clock of the run and by what had been heard; how
many words were shown after their time; what taking in the finals of a stream costs; and then what a player costs the gateway, which asks
for the playlist and a segment in turn. A player that plays what it has is this much and the time between two looks at the playlist behind.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.transcript_pb2 import TranscriptSegment, Word

from pipeline.bus import Context, Origin, Position, Record
from pipeline.bus.memory import MemoryBus
from pipeline.live_subtitles import DELAY, LENGTH, LiveSubtitles, Rules
from pipeline.timeline import MediaTime
from services.gateway.hls import Hls
from services.gateway.http import HttpFace
from services.gateway.hub import Hub
from services.gateway.subtitle_tracks import SubtitleTracks
from services.settings import Settings


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


def play(port: int, rounds: int, done: Connection) -> None:
    """A player that asks for the playlist and its last segment, again and again over one connection."""
    server = http.client.HTTPConnection("127.0.0.1", port)

    def get(name: str) -> str:
        server.request("GET", f"/v1/streams/s/hls/{name}")
        answer = server.getresponse()
        assert answer.status == 200, answer.status
        return answer.read().decode()

    for _ in range(rounds):
        get(get("captions.m3u8").split()[-1])
    done.send(None)


async def serve(events: Sequence[dict[str, Any]], rounds: int) -> float:
    """Seconds of processor time that the gateway takes for a round of a player."""
    tracks = SubtitleTracks()
    hub = Hub(MemoryBus(), followers=[tracks])
    finals = [final(event) for event in events if event["type"] == "final"]
    for number, said in enumerate(finals):
        said.stream_id = "s"
        event, origin = ClearedEvent(segment=said), Origin("screen-transcripts", Position(number, 0))
        hub.take(Record("cleared", 0, number, "s", event, origin, Context(started_at=time.time())))
    face = HttpFace([Hls(tracks)], Settings(http="127.0.0.1:0"))
    serving = asyncio.create_task(face.run())
    finished, done = multiprocessing.Pipe(duplex=False)
    player = multiprocessing.get_context("spawn").Process(target=play, args=(int(face.address.split(":")[1]), rounds, done))
    player.start()
    begun = time.process_time()
    await asyncio.to_thread(finished.recv)
    spent = time.process_time() - begun
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    player.join()
    return spent / rounds


def main() -> None:
    """Print a line for each length and delay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("events", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=[round(LENGTH.seconds)])
    parser.add_argument("--delays", type=int, nargs="+", default=[round(DELAY.seconds)])
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=300)
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
            print(
                f"segments of {length} s, delay {delay} s: {len(waits)} words {clock.mean():.1f} s after their end, p95 "
                f"{np.percentile(clock, 95):.1f}, at most {clock.max():.1f}; by what was heard {heard.mean():.1f}, p95 "
                f"{np.percentile(heard, 95):.1f}, at most {heard.max():.1f}; {track.late} late; {spent * 1000:.3f} ms for a second of it"
            )
    spent = asyncio.run(serve(events, arguments.rounds))
    print(f"a playlist of {600 // round(LENGTH.seconds)} segments at most, and a segment: {spent * 1000:.2f} ms of the gateway's processor")


if __name__ == "__main__":
    main()
