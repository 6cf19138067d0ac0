"""The suite of decoders on what GPUs this machine has: NVDEC through FFmpeg and PyNvVideoCodec, VAAPI, VideoToolbox."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import CodecUnsupported
from pipeline.media.decoders import DecoderFactory
from pipeline.media.decoders.choose import AUTOMATIC, Choice, choose, factory, openers
from pipeline.media.decoders.cpu import open_cpu
from tests.pipeline.decoder_suite import CLIPS, close, luma, seen, shared, truth
from tests.synthetic import Spec, chunks, clip

pytestmark = pytest.mark.gpu


@pytest.fixture(params=AUTOMATIC)
def on_device(request: pytest.FixtureRequest) -> DecoderFactory:
    choice = choose(request.param)
    if choice.name != request.param:
        pytest.skip("; ".join(why for _, why in choice.refused))
    return openers()[request.param]


@pytest.mark.parametrize("name", CLIPS)
def test_each_frame_comes_at_its_time_and_looks_right(name: str, on_device: DecoderFactory) -> None:
    spec = CLIPS[name]
    source = clip(replace(spec, width=2 * spec.width, height=2 * spec.height))  # NVDEC takes no HEVC below 144 lines
    expected = truth(source)
    try:
        frames = seen(chunks(source, "video"), on_device)
    except CodecUnsupported as error:
        pytest.skip(str(error))
    if not frames and name == "av1":
        pytest.skip("this device decodes no AV1, as an H100 does not")
    assert [frame.time.nanos for frame in frames] == pytest.approx(list(expected), abs=1_000_000)
    assert all(close(luma(frame.surface), picture) for frame, picture in zip(frames, expected.values(), strict=True))


def test_the_model_size_picture_has_the_right_colours(on_device: DecoderFactory) -> None:
    pieces = chunks(clip(Spec(audio=None, width=320, height=192)), "video")
    right, found = seen(pieces, open_cpu)[30], seen(pieces, on_device)[30]
    assert abs(found.surface.rgb(160, 96).astype(int) - right.surface.rgb(160, 96).astype(int)).mean() < 3


OTHERWISE = {
    "corrupt_packets.ts": "a device mends what is damaged and does not say so",
    "ts_packet_loss.ts": "a device mends what is damaged and does not say so",
    "interlaced_tff.ts": "swscale makes thumbnails of each field apart",
}
"""Why pictures of these are not those of the CPU."""


@pytest.mark.parametrize("path", shared(), ids=lambda path: path.name if path is not None else "none")
@pytest.mark.parametrize("name", AUTOMATIC)
def test_shared_media_with_the_cpu_behind_the_device(path: Path | None, name: str) -> None:
    if path is not None and path.name in OTHERWISE:
        pytest.skip(OTHERWISE[path.name])
    if path is None or choose(name).name != name:
        pytest.skip("no shared media, or no such device")
    pieces = chunks(str(path), "video")
    right = {frame.time: luma(frame.surface) for frame in seen(pieces, open_cpu)}
    frames = seen(pieces, factory(Choice(name, "asked for")))
    assert len(frames) >= 0.97 * len(right)
    assert all(close(luma(frame.surface), right[frame.time]) for frame in frames if frame.time in right)
