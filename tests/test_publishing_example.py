"""The client in `docs/publishing.md`, run as anyone would run it, against a real broker."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from watchword.v1.media_pb2 import MediaChunk

from pipeline.bus import Assigned, Record
from pipeline.bus.kafka import KafkaBus
from pipeline.errors import WatchwordError
from pipeline.media.decode import AudioDecoder, VideoDecoder
from tests.synthetic import Spec, clip, picture

pytestmark = pytest.mark.connected

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "publish.py"
STREAM = "example-1"


def test_the_page_quotes_the_example_to_the_letter() -> None:
    page = (ROOT / "docs" / "publishing.md").read_text()
    assert f"```python\n{EXAMPLE.read_text()}```\n" in page


def test_what_the_example_publishes_can_be_decoded(broker_address: str) -> None:
    spec = Spec(seconds=2, cuts=(20,))
    records = asyncio.run(publish_and_read(broker_address, clip(spec)))
    for topic in ("audio", "video"):
        *first, last = records[topic]
        assert [record.value.WhichOneof("event") for record in first] == ["chunk"] * len(first)  # type: ignore[union-attr]
        assert last.value.end.cause == ""  # type: ignore[union-attr]
        assert last.value.end.media_end.ToMilliseconds() == pytest.approx(2000, abs=30)  # type: ignore[union-attr]
        assert {record.context.started_at for record in records[topic]} == {last.context.started_at}
        assert last.context.started_at is not None
    sound = AudioDecoder(STREAM)
    blocks = [block for piece in chunks(records["audio"]) for block in sound.decode(piece)] + sound.flush()
    assert blocks[0].start == 0
    assert sum(len(block.samples) for block in blocks) == pytest.approx(2 * 16_000, abs=500)
    pictures = VideoDecoder(STREAM)
    frames = [frame for piece in chunks(records["video"]) for frame in pictures.decode(piece)] + pictures.flush()
    assert [frame.time.millis for frame in frames] == [40 * n for n in range(50)]
    seen = frames[20].frame.to_ndarray(format="rgb24").astype(int)
    assert np.abs(seen - picture(spec, 20).astype(int)).mean() < 14


async def publish_and_read(address: str, path: Path) -> dict[str, list[Record]]:
    """Run the example, and read both topics to the end of its stream."""
    bus = KafkaBus(address)
    await bus.start()
    try:
        command = [sys.executable, str(EXAMPLE), str(path), STREAM, address]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "protos")}
        client = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert client.returncode == 0, client.stderr
        async with asyncio.timeout(30):
            return {topic: await read(bus, topic) for topic in ("audio", "video")}
    finally:
        await bus.close()


async def read(bus: KafkaBus, topic: str) -> list[Record]:
    subscription = await bus.follow(topic)
    records: list[Record] = []
    while not (records and records[-1].value.WhichOneof("event") == "end"):  # type: ignore[union-attr]
        event = await subscription.next()
        if isinstance(event, Assigned) or not isinstance(event, Record) or event.stream_id != STREAM:
            continue
        assert not isinstance(event.value, WatchwordError), event.value
        records.append(event)
    await subscription.close()
    return records


def chunks(records: list[Record]) -> list[MediaChunk]:
    return [record.value.chunk for record in records if record.value.WhichOneof("event") == "chunk"]  # type: ignore[union-attr]
