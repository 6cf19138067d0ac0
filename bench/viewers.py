"""What it costs a gateway to tell one stream to many viewers over HTTP.

    python -m bench.viewers --viewers 1 100 400

The hub is given captions as a transcriber makes them, four a second of a sentence that grows to twenty words, and a keyframe of 20 kB a
second; viewers read all they are told, in a process of their own. Told are the gateway's processor time, its memory, and how late the
latest viewer was.
"""

import argparse
import asyncio
import multiprocessing
import resource
import time
from multiprocessing.connection import Connection

from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.scene_pb2 import Keyframe
from watchword.v1.transcript_pb2 import TranscriptSegment, Word

from pipeline.bus import Context, Origin, Position, Record
from pipeline.bus.memory import MemoryBus
from pipeline.timeline import MediaTime
from services.gateway.http import HttpFace
from services.gateway.hub import Hub
from services.gateway.live import Streams
from services.settings import Settings

SECONDS, A_SECOND, WORDS = 20, 5, 20
LAST = b'"id": "last"'


def told(number: int) -> ClearedEvent:
    """The event of a fifth of a second: four captions, then a keyframe."""
    at = MediaTime.of(number / A_SECOND).to_proto()
    if number % A_SECOND == A_SECOND - 1:
        return ClearedEvent(keyframe=Keyframe(stream_id="s", id=f"keyframe-{number}", media_time=at, jpeg=bytes(20_000)))
    words = [Word(text="promised", media_start=at, media_end=at, probability=0.9) for _ in range(1 + number % WORDS)]
    name = f"segment-{number - number % WORDS}"
    segment = TranscriptSegment(stream_id="s", id=name, text="promised " * len(words), words=words, media_start=at, media_end=at)
    return ClearedEvent(segment=segment)


def last() -> ClearedEvent:
    """The event at which viewers stop."""
    return ClearedEvent(segment=TranscriptSegment(stream_id="s", id="last", text="last", is_final=True))


async def view(port: int, ready: asyncio.Event, waiting: list[int]) -> float:
    """Read a stream to its last event; when that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(b"GET /v1/streams/s/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    while b"retry:" not in await reader.readline():
        pass
    waiting[0] -= 1
    if not waiting[0]:
        ready.set()
    while LAST not in await reader.readline():
        pass
    writer.close()
    return time.monotonic()


def viewers(port: int, many: int, pipe: Connection) -> None:
    """So many viewers in this process: tells when all are there, and when the latest had everything."""

    async def work() -> None:
        ready, waiting = asyncio.Event(), [many]
        views = [asyncio.create_task(view(port, ready, waiting)) for _ in range(many)]
        await ready.wait()
        pipe.send(None)
        pipe.send(max(await asyncio.gather(*views)))

    asyncio.run(work())


async def measure(many: int) -> str:
    """One line of results."""
    hub = Hub(MemoryBus())
    face = HttpFace([Streams(hub)], Settings(http="127.0.0.1:0"))
    serving = asyncio.create_task(face.run())

    def take(offset: int, event: ClearedEvent) -> None:
        hub.take(Record("cleared", 0, offset, "s", event, Origin("bench", Position(offset, 0)), Context(started_at=time.time())))

    take(0, told(0))
    here, there = multiprocessing.Pipe()
    port = int(face.address.rpartition(":")[2])
    process = multiprocessing.get_context("spawn").Process(target=viewers, args=(port, many, there))
    process.start()
    await asyncio.to_thread(here.recv)
    begun, used = time.monotonic(), time.process_time()
    for number in range(1, SECONDS * A_SECOND):
        await asyncio.sleep(max(0.0, begun + number / A_SECOND - time.monotonic()))
        take(number, told(number))
    take(SECONDS * A_SECOND, last())
    ended = time.monotonic()
    came = await asyncio.to_thread(here.recv)
    used = time.process_time() - used
    process.join()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    each_us = used / (SECONDS * A_SECOND * many) * 1e6
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"{many} viewers: {used / SECONDS:.3f} s of a core for each second, {each_us:.0f} us an event and viewer, "
        f"{memory_mb:.0f} MB at most so far, the last event at the latest viewer after {came - ended:.2f} s"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, nargs="+", default=[1, 100, 400])
    for many in parser.parse_args().viewers:
        print(asyncio.run(measure(many)), flush=True)


if __name__ == "__main__":
    main()
