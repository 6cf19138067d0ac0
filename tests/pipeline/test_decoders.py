"""One suite for every decoder behind the port, over clips made on the spot and all shared media; GPUs are stood in for by fakes.

On a machine with a GPU the same suite runs on it: `pytest -m gpu tests/pipeline/test_decoders_gpu.py`.
"""

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.typing import EventDict
from watchword.v1.media_pb2 import MediaChunk, VideoParameters

from pipeline.errors import CodecUnsupported, MediaUndecodable, WatchwordError
from pipeline.media.chunks import thin
from pipeline.media.decoders import CodedPacket, Decoder, DecoderFactory, DecoderFailed, Frame, Skip
from pipeline.media.decoders.annexb import AnnexB
from pipeline.media.decoders.choose import WANTED, Choice, Openers, choose, factory, say
from pipeline.media.decoders.cpu import Scaler, open_cpu
from pipeline.media.decoders.fallback import FallingBack
from pipeline.media.decoders.hardware import DEVICES, HardwareDecoder, open_hardware
from pipeline.media.decoders.nvidia import Colours, NvidiaDecoder, colours, open_nvidia
from pipeline.media.decoders.tensor import Nv12Surface
from pipeline.media.video import DecodedFrame, VideoDecoder
from tests.pipeline.decoder_suite import CLIPS, close, luma, seen, shared, truth
from tests.synthetic import Spec, chunks, clip

pytestmark = pytest.mark.unit


# A GPU that is stood in for


class FakeTensorSurfaceDecoder:
    """FFmpeg's own frames as NV12 tensors: what a GPU decoder gives, without one."""

    name = "fake gpu"

    def __init__(self, inner: Decoder) -> None:
        self._inner = inner

    def decode(self, packet: CodedPacket, skip: Skip = Skip.NOTHING) -> list[Frame]:
        return [self._moved(frame) for frame in self._inner.decode(packet, skip)]

    def drain(self) -> list[Frame]:
        return [self._moved(frame) for frame in self._inner.drain()]

    def close(self) -> None:
        self._inner.close()

    def _moved(self, frame: Frame) -> Frame:
        return Frame(frame.pts, frame.dts, frame.keyframe, frame.corrupt, nv12(frame), frame.pixel_aspect, frame.rotation)


def nv12(frame: Frame) -> Nv12Surface:
    """A frame of FFmpeg's as a surface of tensors."""
    torch = pytest.importorskip("torch")
    original: Any = frame.surface.frame  # type: ignore[attr-defined]
    height, width = original.height // 2 * 2, original.width // 2 * 2
    array = original.reformat(width=width, height=height, format="nv12").to_ndarray()
    both = torch.from_numpy(np.ascontiguousarray(array)).clone()
    full = original.format.name.startswith("yuvj") or int(original.color_range) == 2
    return Nv12Surface(both[:height], both[height:], full_range=full)


def open_fake_gpu(stream_id: str, parameters: VideoParameters) -> Decoder:
    return FakeTensorSurfaceDecoder(open_cpu(stream_id, parameters))


@dataclass
class FakePacketData:
    bsl_data: int = 0
    bsl: int = 0
    pts: int = 0
    dts: int = 0
    key: bool = False
    decode_flag: str = ""


@dataclass
class FakeNvFrame:
    pts: int
    nv12: Any

    def getPTS(self) -> int:  # noqa: N802
        return self.pts


class FakeNvc:
    """PyNvVideoCodec as far as it is used. Decodes Annex B with FFmpeg, and spoils a frame at the next call, as the real one does."""

    class VideoPacketFlag:
        ENDOFPICTURE, ENDOFSTREAM = "picture", "stream"

    class DisplayDecodeLatencyType:
        LOW = "low"

    class cudaVideoCodec:  # noqa: N801
        H264, HEVC, VP9 = "h264", "hevc", "vp9"

    PacketData = FakePacketData

    def CreateDecoder(self, *, gpuid: int, codec: str, usedevicememory: bool, latency: str) -> "FakeNvSession":  # noqa: N802
        assert usedevicememory
        assert latency == "low"
        return FakeNvSession(codec)


@dataclass
class FakeNvSession:
    codec: str
    given: list[FakeNvFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inner = open_cpu("s", VideoParameters(codec=self.codec))

    def Decode(self, packet: FakePacketData) -> list[FakeNvFrame]:  # noqa: N802
        for frame in self.given:
            frame.nv12.zero_()
        if packet.decode_flag == "stream":
            frames = self.inner.drain()
        else:
            data = ctypes.string_at(packet.bsl_data, packet.bsl)
            try:
                frames = self.inner.decode(CodedPacket(packet.pts, packet.dts, packet.key, data))
            except DecoderFailed as error:
                raise RuntimeError("cuvidParseVideoData failed") from error
        self.given = [FakeNvFrame(frame.pts or 0, _joined(nv12(frame))) for frame in frames]
        return self.given


def _joined(surface: Nv12Surface) -> Any:
    torch = pytest.importorskip("torch")
    light, chroma = surface.planes
    return torch.cat([light, chroma.reshape(chroma.shape[0], -1)])


def open_fake_nvidia(stream_id: str, parameters: VideoParameters) -> Decoder:
    if not hasattr(FakeNvc.cudaVideoCodec, parameters.codec.upper()):
        raise CodecUnsupported(f"NVDEC does not decode {parameters.codec}")
    annexb = AnnexB(parameters.codec, parameters.extradata)
    look = partial(_look, stream_id, parameters)
    return NvidiaDecoder(FakeNvc(), parameters.codec.upper(), annexb, look, take=lambda frame: frame.nv12)


def _look(stream_id: str, parameters: VideoParameters, packet: CodedPacket) -> Colours:
    return colours(open_cpu(stream_id, parameters), packet)


def open_fallen_back(stream_id: str, parameters: VideoParameters) -> Decoder:
    """A device that refuses the first packet."""
    return FallingBack(stream_id, Broken(), lambda: open_cpu(stream_id, parameters))


class Broken:
    """Fails at the packet of a number, or gives nothing at all."""

    name = "broken"

    def __init__(self, at: int | None = 0) -> None:
        self._at = at
        self.closed = False

    def decode(self, packet: CodedPacket, skip: Skip = Skip.NOTHING) -> list[Frame]:
        if self._at is not None:
            self._at -= 1
            if self._at < 0:
                raise DecoderFailed("no device")
        return []

    def drain(self) -> list[Frame]:
        return []

    def close(self) -> None:
        self.closed = True


DECODERS: dict[str, DecoderFactory] = {
    "cpu": open_cpu,
    "tensors": open_fake_gpu,
    "pynvvideocodec": open_fake_nvidia,
    "fallen back": open_fallen_back,
}


@pytest.fixture(params=DECODERS)
def open_decoder(request: pytest.FixtureRequest) -> DecoderFactory:
    return DECODERS[request.param]


class TestSuite:
    """What holds for each decoder."""

    @pytest.mark.parametrize("name", CLIPS)
    def test_each_frame_comes_at_its_time_and_looks_right(self, name: str, open_decoder: DecoderFactory) -> None:
        source = clip(CLIPS[name])
        expected = truth(source)
        try:
            frames = seen(chunks(source, "video"), open_decoder)
        except CodecUnsupported:
            pytest.skip("this decoder does not know the codec")
        assert [frame.time.nanos for frame in frames] == pytest.approx(list(expected), abs=1_000_000)
        for frame, picture in zip(frames, expected.values(), strict=True):
            assert close(luma(frame.surface), picture), frame.time

    @pytest.mark.parametrize("name", ["b-frames", "hevc"])
    def test_after_a_drain_it_starts_afresh_at_a_keyframe(self, name: str, open_decoder: DecoderFactory) -> None:
        pieces = chunks(clip(CLIPS[name]), "video")
        thinned = [piece for piece in (thin(piece) for piece in pieces) if piece is not None]
        frames = seen(thinned, open_decoder)
        assert [frame.time.millis for frame in frames] == [0, 1000, 2000]
        expected = truth(clip(CLIPS[name]))
        assert all(close(luma(frame.surface), expected[frame.time.nanos]) for frame in frames)

    def test_damage_costs_the_pictures_up_to_the_next_keyframe(self, open_decoder: DecoderFactory) -> None:
        source = clip(Spec(audio=None))
        pieces = chunks(source, "video")
        pieces[1].packets[2].data = b"\x00\x00\x00\x04" + bytes(range(4))
        frames = seen(pieces, open_decoder)
        expected = truth(source)
        assert [frame.time.millis for frame in frames if frame.time.millis >= 1000] == [40 * n for n in range(25, 75)]
        assert all(close(luma(frame.surface), expected[frame.time.nanos]) for frame in frames)

    def test_the_model_size_picture_has_the_right_colours(self, open_decoder: DecoderFactory) -> None:
        source = clip(Spec(audio=None, width=320, height=192))
        pieces = chunks(source, "video")
        right, found = seen(pieces, open_cpu)[30], seen(pieces, open_decoder)[30]
        difference = np.abs(found.surface.rgb(160, 96).astype(int) - right.surface.rgb(160, 96).astype(int))
        assert difference.mean() < 3
        assert np.percentile(difference, 90) <= 8

    def test_a_surface_stays_right_while_decoding_goes_on(self, open_decoder: DecoderFactory) -> None:
        source = clip(Spec(audio=None))
        decoder = VideoDecoder("s", open_decoder)
        frames: list[DecodedFrame] = []
        for piece in chunks(source, "video"):
            frames += decoder.decode(piece)
        frames += decoder.flush()
        decoder.close()
        expected = truth(source)
        assert all(close(luma(frame.surface), expected[frame.time.nanos]) for frame in frames)

    @pytest.mark.parametrize("path", shared(), ids=lambda path: path.name if path is not None else "none")
    def test_shared_media(self, path: Path | None, open_decoder: DecoderFactory) -> None:
        if path is None:
            pytest.skip("no shared media here")
        pieces = chunks(path, "video")
        if not pieces:
            pytest.skip("no video in it")
        right = {frame.time: luma(frame.surface) for frame in seen(pieces, open_cpu)}
        try:
            frames = seen(pieces, open_decoder)
        except CodecUnsupported:
            pytest.skip("this decoder does not know the codec")
        assert {frame.time for frame in frames} >= {time for time in right if time.nanos >= 0} or len(frames) >= 0.97 * len(right)
        if path.name.startswith(("interlaced", "tiny")):
            return  # swscale makes the two fields of the one small apart, and blows the other up in another way, than tensors
        assert all(close(luma(frame.surface), right[frame.time]) for frame in frames if frame.time in right)


class TestTensors:
    @pytest.mark.parametrize("full", [False, True])
    @pytest.mark.parametrize("size", [(64, 36), (320, 180), (160, 90)])
    def test_they_are_scaled_as_swscale_does(self, size: tuple[int, int], full: bool) -> None:
        av = pytest.importorskip("av")
        torch = pytest.importorskip("torch")
        rng = np.random.default_rng(4)
        small = rng.integers(0, 255, size=(9, 16, 3), dtype=np.uint8)
        picture = np.kron(small, np.ones((40, 40, 1), np.uint8))
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
            format="nv12", dst_color_range=2 if full else 1, src_color_range=2
        )
        both = torch.from_numpy(frame.to_ndarray())
        surface = Nv12Surface(both[:360], both[360:], full_range=full)
        assert (surface.width, surface.height) == (640, 360)
        expected = np.asarray(
            av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(width=size[0], height=size[1]).to_ndarray("rgb24")
        )
        assert np.abs(surface.rgb(*size).astype(int) - expected.astype(int)).mean() < 20
        expected, found = Scaler().small(frame, *size), surface.small(*size)
        assert np.abs(found.luma.astype(int) - expected.luma.astype(int)).mean() < 3
        assert np.abs(found.chroma.astype(int) - expected.chroma.astype(int)).mean() < 3

    @pytest.mark.parametrize(("value", "full", "expected"), [(16, False, 0), (235, False, 255), (0, True, 0), (255, True, 255)])
    def test_black_is_black_and_white_white(self, value: int, full: bool, expected: int) -> None:
        torch = pytest.importorskip("torch")
        surface = Nv12Surface(torch.full((72, 128), value), torch.full((36, 64, 2), 128), full_range=full)
        assert (surface.small(64, 36).luma == expected).all()
        assert (np.abs(surface.rgb(64, 36).astype(int) - expected) <= 1).all()


class TestAnnexB:
    @pytest.mark.parametrize(("encoder", "codec"), [("libx264", "h264"), ("libx265", "hevc")])
    def test_what_is_rewritten_decodes_without_a_header_of_its_own(self, encoder: str, codec: str) -> None:
        source = clip(Spec(video=encoder, audio=None))
        pieces = chunks(source, "video")
        annexb = AnnexB(codec, pieces[0].video.extradata)
        for piece in pieces:
            piece.video.extradata = b""
            for packet in piece.packets:
                packet.data = annexb.rewrite(packet.data, keyframe=packet.keyframe)
        expected = truth(source)
        frames = seen(pieces, open_cpu)
        assert len(frames) == len(expected)
        assert all(np.array_equal(luma(frame.surface), expected[frame.time.nanos]) for frame in frames)

    @pytest.mark.parametrize("container", ["ts", "webm"])
    def test_others_pass_as_they_are(self, container: str) -> None:
        source = clip(Spec(video="libx264" if container == "ts" else "libvpx-vp9", container=container, audio=None))
        for piece in chunks(source, "video"):
            annexb = AnnexB(piece.video.codec, piece.video.extradata)
            assert all(annexb.rewrite(packet.data, keyframe=packet.keyframe).endswith(packet.data) for packet in piece.packets)


class TestFallingBack:
    def packets(self) -> Iterator[CodedPacket]:
        from pipeline.media.chunks import coded

        for piece in chunks(clip(Spec(audio=None)), "video"):
            yield from coded(piece)

    def parameters(self) -> VideoParameters:
        return chunks(clip(Spec(audio=None)), "video")[0].video

    @pytest.mark.parametrize("at", [0, 2, None], ids=["at once", "at the third packet", "never a frame"])
    def test_a_device_that_gives_no_frame_is_left_and_none_is_lost(self, at: int | None, logs: list[EventDict]) -> None:
        broken = Broken(at)
        decoder = FallingBack("s", broken, lambda: open_cpu("s", self.parameters()))
        frames = [frame for packet in self.packets() for frame in decoder.decode(packet)] + decoder.drain()
        first = 0 if at is not None else 2_000_000_000
        assert [frame.pts for frame in frames if frame.pts is not None and frame.pts >= first][-25:] == [
            40_000_000 * n for n in range(50, 75)
        ]
        assert broken.closed
        assert decoder.name == "cpu"
        assert [entry["decoder"] for entry in logs] == ["broken"]

    def test_a_device_that_has_given_frames_is_kept(self) -> None:
        decoder = FallingBack("s", open_cpu("s", self.parameters()), lambda: pytest.fail("not needed"))
        packets = list(self.packets())
        frames = [frame for packet in packets[:20] for frame in decoder.decode(packet)]
        assert frames
        assert decoder.drain()


def refuse(stream_id: str, parameters: VideoParameters) -> Decoder:
    raise CodecUnsupported("not here")


def known(**here: DecoderFactory) -> Openers:
    return {**dict.fromkeys(WANTED[1:], refuse), "cpu": open_cpu, **here}


class TestChoice:
    def test_without_any_device_the_cpu_decodes_and_each_says_why(self) -> None:
        choice = choose(known=known())
        assert (choice.name, choice.why) == ("cpu", "no device decodes")
        assert dict(choice.refused) == dict.fromkeys(["pynvvideocodec", "cuda", "videotoolbox", "vaapi"], "not here")

    def test_the_first_device_that_is_there_is_taken(self) -> None:
        choice = choose(known=known(cuda=open_fake_gpu, vaapi=open_fake_gpu))
        assert (choice.name, choice.why, choice.refused) == ("cuda", "found", (("pynvvideocodec", "not here"),))

    @pytest.mark.parametrize("wanted", ["cpu", "vaapi"])
    def test_what_is_asked_for_is_taken(self, wanted: Any) -> None:
        assert choose(wanted, known=known(cuda=open_fake_gpu, vaapi=open_fake_gpu)) == Choice(wanted, "asked for")

    def test_what_is_asked_for_and_not_there_leaves_it_to_the_cpu(self) -> None:
        choice = choose("vaapi", known=known(cuda=open_fake_gpu))
        assert (choice.name, choice.why, choice.refused) == (
            "cpu",
            "vaapi was asked for, but cannot be used",
            (("vaapi", "not here"),),
        )

    def test_it_is_said_in_the_log(self, logs: list[EventDict]) -> None:
        say(choose(known=known(vaapi=open_fake_gpu)))
        assert [(entry["event"], entry["decoder"], entry["why"]) for entry in logs] == [("decoder chosen", "vaapi", "found")]

    def test_a_codec_that_the_device_does_not_know_is_decoded_on_the_cpu(self, logs: list[EventDict]) -> None:
        openers = known(pynvvideocodec=open_fake_nvidia)
        opened = factory(choose(known=openers), known=openers)
        pieces = chunks(clip(Spec(video="mpeg4", audio=None)), "video")
        assert len(seen(pieces, opened)) == 75
        assert "decoded on the CPU" in [entry["event"] for entry in logs]

    @pytest.mark.parametrize("opener", [open_nvidia, *(lambda s, p, d=device: open_hardware(d, s, p) for device in DEVICES)])
    def test_a_device_is_there_or_says_why_not(self, opener: Callable[[str, VideoParameters], Decoder]) -> None:
        said = ""
        try:
            opener("s", VideoParameters(codec="h264")).close()
        except CodecUnsupported as error:
            said = str(error)
        assert said != "None"

    def test_frames_that_ffmpeg_fetches_from_a_device_are_frames_like_others(self) -> None:
        """The download path of PyAV: its frames are in the CPU's memory already."""
        from pipeline.media import codecs

        pieces = chunks(clip(Spec(audio=None)), "video")
        decoder = HardwareDecoder(codecs.open_video("s", pieces[0].video), "vaapi", stays=False)
        frames = seen(pieces, lambda stream_id, parameters: decoder)
        assert len(frames) == 75
        assert frames[0].pixel_aspect == Fraction(1)


def test_everything_else_that_goes_wrong_is_an_error_of_ours() -> None:
    piece = MediaChunk()
    piece.CopyFrom(chunks(clip(Spec(audio=None)), "video")[0])
    piece.video.codec = "nosuch"
    for opened in DECODERS.values():
        with pytest.raises(WatchwordError):
            VideoDecoder("s", opened).decode(piece)


def test_ten_bits_on_a_device_are_the_eight_that_count() -> None:
    """P010, as HDR comes from NVDEC: ten bits at the top of sixteen."""
    torch = pytest.importorskip("torch")
    luma = torch.full((36, 64), 126 << 8, dtype=torch.uint16)
    chroma = torch.full((18, 32, 2), 128 << 8, dtype=torch.uint16)
    surface = Nv12Surface(luma, chroma)
    assert set(np.unique(surface.small(64, 36).luma)) <= {127, 128, 129}
    assert set(np.unique(surface.small(64, 36).chroma)) == {128}
    assert np.ptp(surface.rgb(64, 36).astype(int)) <= 1


def test_a_device_that_is_lost_later_is_opened_again() -> None:
    opened: list[Dying] = []

    def open_dying(stream_id: str, parameters: VideoParameters) -> Decoder:
        opened.append(Dying(open_cpu(stream_id, parameters), lasts=30 if not opened else 10**6))
        return opened[-1]

    pieces = chunks(clip(replace(CLIPS["b-frames"], seconds=6)), "video")
    decoder = VideoDecoder("s", open_dying)
    frames = []
    for piece in pieces:
        with contextlib.suppress(MediaUndecodable):
            frames += decoder.decode(piece)
    assert (len(opened), decoder.lost) == (2, 1)
    assert frames[-1].time.seconds > 5


class Dying:
    """A device that works for so many packets and then refuses all."""

    name = "cuda"

    def __init__(self, inner: Decoder, lasts: int) -> None:
        self._inner, self._lasts = inner, lasts

    def decode(self, packet: CodedPacket, skip: Skip = Skip.NOTHING) -> list[Frame]:
        self._lasts -= 1
        if self._lasts < 0:
            raise DecoderFailed("the device is gone")
        return self._inner.decode(packet, skip)

    def drain(self) -> list[Frame]:
        return self._inner.drain()

    def close(self) -> None:
        self._inner.close()
