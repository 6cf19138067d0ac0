"""Decoders in processes of their own: the same pictures, and what hangs or crashes is replaced and costs only its stream."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from structlog.typing import EventDict
from watchword.v1.events_pb2 import VideoEvent
from watchword.v1.media_pb2 import VideoParameters

from pipeline.errors import CodecUnsupported, MediaUndecodable, WatchwordError
from pipeline.media.chunks import coded
from pipeline.media.decoders import Decoder, DecoderLost, Frame, isolated
from pipeline.media.decoders.cpu import open_cpu
from pipeline.media.decoders.isolated import IsolatedDecoder
from pipeline.media.video import DecodedFrame, VideoDecoder
from pipeline.sample.stage import Sample
from tests.pipeline.decoder_suite import CLIPS, luma, seen, truth
from tests.synthetic import Spec, chunks, clip

pytestmark = pytest.mark.unit

STUCK = """
import sys, threading
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
connection.recv()
connection.send(("done", "stuck"))
threading.Event().wait()
"""
"""A process that opens and then answers no more."""


@pytest.fixture
def opened() -> Iterator[list[IsolatedDecoder]]:
    decoders: list[IsolatedDecoder] = []
    yield decoders
    for decoder in decoders:
        decoder.close()


def opener(opened: list[IsolatedDecoder], *, stuck: int = 0, limit_s: float = 10.0) -> "partial[Decoder]":
    """Opens isolated decoders, of which the first few are stuck, and keeps them."""

    def open_decoder(stream_id: str, parameters: VideoParameters) -> Decoder:
        if len(opened) < stuck:
            decoder = IsolatedDecoder("cpu", stream_id, parameters, limit_s=0.05, command=[sys.executable, "-c", STUCK])
        else:
            decoder = IsolatedDecoder("cpu", stream_id, parameters, limit_s=limit_s)
        opened.append(decoder)
        return decoder

    return partial(open_decoder)


@pytest.mark.parametrize("name", ["b-frames", "vp9"])
def test_it_gives_the_same_pictures(name: str, opened: list[IsolatedDecoder]) -> None:
    source = clip(CLIPS[name])
    pieces = chunks(source, "video")
    right = seen(pieces, open_cpu)
    frames = seen(pieces, opener(opened))
    expected = truth(source)
    assert [frame.time for frame in frames] == [frame.time for frame in right]
    assert all(np.array_equal(luma(frame.surface), picture) for frame, picture in zip(frames, expected.values(), strict=True))
    assert (frames[0].surface.width, frames[0].surface.height) == (160, 96)


def test_pixels_are_fetched_while_they_are_held(opened: list[IsolatedDecoder]) -> None:
    pieces = chunks(clip(CLIPS["b-frames"]), "video")
    decoder = VideoDecoder("s", opener(opened))
    right, frames = VideoDecoder("s"), []
    for piece in pieces[:4]:
        frames += list(zip(decoder.decode(piece), right.decode(piece), strict=True))
    assert all(np.array_equal(found.surface.rgb(80, 48), here.surface.rgb(80, 48)) for found, here in frames)


def test_a_codec_that_nothing_knows_is_refused_as_it_is_here() -> None:
    with pytest.raises(CodecUnsupported, match="nosuch"):
        IsolatedDecoder("cpu", "s", VideoParameters(codec="nosuch"))


def test_a_process_that_ends_is_replaced_and_the_stream_goes_on_at_the_next_keyframe(
    opened: list[IsolatedDecoder], logs: list[EventDict]
) -> None:
    pieces = chunks(clip(CLIPS["b-frames"]), "video")
    decoder = VideoDecoder("s", opener(opened))
    frames: list[DecodedFrame] = []
    for number, piece in enumerate(pieces):
        if number == 2:
            os.kill(opened[0].pid, signal.SIGSEGV)
        frames += decoder.decode(piece) if number != 2 else _despite_loss(decoder, piece)
    frames += decoder.flush()
    assert [frame.time.millis for frame in frames if frame.time.millis >= 1000] == [40 * n for n in range(25, 75)]
    assert decoder.lost == 1
    (said,) = [entry for entry in logs if entry["event"] == "decoder_replaced"]
    assert "process ended with code -11" in said["cause"]


def _despite_loss(decoder: VideoDecoder, piece: object) -> list[DecodedFrame]:
    try:
        return decoder.decode(piece)  # type: ignore[arg-type]
    except MediaUndecodable:
        return []


def test_a_decoder_that_hangs_is_replaced(opened: list[IsolatedDecoder], logs: list[EventDict]) -> None:
    pieces = chunks(clip(CLIPS["b-frames"]), "video")
    decoder = VideoDecoder("s", opener(opened, stuck=1))
    frames = _despite_loss(decoder, pieces[0])
    for piece in pieces[1:]:
        frames += decoder.decode(piece)
    frames += decoder.flush()
    assert [frame.time.millis for frame in frames] == [40 * n for n in range(25, 75)]
    assert [entry["cause"] for entry in logs if entry["event"] == "decoder_replaced"] == ["it has not answered for 0.05 s"]


SLOW = """
import sys, threading
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
connection.recv()
connection.send(("done", "slow"))
connection.recv()
threading.Event().wait(0.3)
connection.send(("done", []))
threading.Event().wait()
"""
"""A process that answers one question after six times the limit."""


@pytest.mark.parametrize(
    ("used", "is_waited_for"), [([0.0] * 99, True), ([0.0, 1.0], False), ([None, None], False)], ids=["starved", "busy", "idle"]
)
def test_a_process_that_wants_a_core_and_gets_none_does_not_hang(
    used: list[float | None], is_waited_for: bool, monkeypatch: pytest.MonkeyPatch, opened: list[IsolatedDecoder]
) -> None:
    readings = iter(used)
    monkeypatch.setattr(isolated, "processor_time", lambda pid: next(readings))
    parameters = chunks(clip(CLIPS["b-frames"]), "video")[0].video
    opened.append(IsolatedDecoder("cpu", "s", parameters, limit_s=0.05, command=[sys.executable, "-c", SLOW]))
    if is_waited_for:
        assert opened[0].drain() == []
    else:
        with pytest.raises(DecoderLost, match=r"not answered for 0\.05 s"):
            opened[0].drain()


def test_processor_time_is_known_of_what_runs() -> None:
    here = isolated.processor_time(os.getpid())
    assert here is None or 0 < here <= time.process_time() + 1
    assert isolated.processor_time(2**22 + 1) is None


def test_what_is_left_of_a_lost_frame_is_its_thumbnail(opened: list[IsolatedDecoder]) -> None:
    piece = chunks(clip(CLIPS["b-frames"]), "video")[0]
    decoder = opener(opened)("s", piece.video)
    frames: list[Frame] = [frame for packet in coded(piece) for frame in decoder.decode(packet)]
    before = frames[0].surface.rgb(80, 48)
    os.kill(opened[0].pid, signal.SIGKILL)
    after = frames[0].surface.rgb(80, 48)
    assert after.shape == before.shape
    assert np.abs(after.mean(axis=2) - before.mean(axis=2)).mean() < 20
    with pytest.raises(DecoderLost, match="process ended"):
        decoder.drain()


def test_other_streams_notice_nothing(opened: list[IsolatedDecoder]) -> None:
    pieces = chunks(clip(CLIPS["b-frames"]), "video")
    one, other = VideoDecoder("s", opener(opened)), VideoDecoder("s", opener(opened))
    frames: list[DecodedFrame] = []
    for number, piece in enumerate(pieces):
        _despite_loss(one, piece)
        frames += other.decode(piece)
        if number == 3:
            os.kill(opened[0].pid, signal.SIGKILL)
    assert len(frames + other.flush()) == 75
    assert (one.lost, other.lost) == (1, 0)


def test_nothing_is_left_running(opened: list[IsolatedDecoder]) -> None:
    decoder = VideoDecoder("s", opener(opened))
    decoder.decode(chunks(clip(Spec(audio=None)), "video")[0])
    decoder.close()
    assert not Path(f"/proc/{opened[0].pid}").exists()


def test_a_stream_that_is_closed_breaks_off_what_hangs_and_opens_nothing_more(opened: list[IsolatedDecoder]) -> None:
    asked = threading.Event()

    def open_stuck(stream_id: str, parameters: VideoParameters) -> Decoder:
        opened.append(IsolatedDecoder("cpu", stream_id, parameters, limit_s=120, command=[sys.executable, "-c", STUCK]))
        asked.set()
        return opened[-1]

    stage = Sample("s", open_decoder=open_stuck)

    async def take() -> None:
        with contextlib.suppress(WatchwordError):
            async for _ in stage.process(VideoEvent(chunk=chunks(clip(CLIPS["b-frames"]), "video")[0])):
                pass

    taking = threading.Thread(target=asyncio.run, args=(take(),))
    taking.start()
    assert asked.wait(30)
    stage.close()
    taking.join(30)
    assert not taking.is_alive()
    assert len(opened) == 1


def test_a_decoder_that_does_not_open_costs_chunks_until_it_does(opened: list[IsolatedDecoder], logs: list[EventDict]) -> None:
    pieces = chunks(clip(CLIPS["b-frames"]), "video")
    attempts = iter([DecoderLost("it has not answered for 10 s"), OSError(24, "too many open files")])

    def open_later(stream_id: str, parameters: VideoParameters) -> Decoder:
        if (problem := next(attempts, None)) is not None:
            raise problem
        return open_cpu(stream_id, parameters)

    decoder = VideoDecoder("s", open_later)
    with pytest.raises(MediaUndecodable, match="no decoder can be opened"):
        decoder.decode(pieces[0])
    frames = [frame for piece in pieces[1:] for frame in decoder.decode(piece)]
    assert frames[0].time.millis == 1000
    assert len([entry for entry in logs if entry["event"] == "decoder_not_opened"]) == 2
