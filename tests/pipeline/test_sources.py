"""Bad input, and every edge case of the shared media: what is told, and what is still sent."""

import contextlib
import json
from pathlib import Path

import pytest

from pipeline.errors import (
    CodecUnsupported,
    MediaUndecodable,
    SourceError,
    SourceInvalid,
    SourceTruncated,
    SourceUnavailable,
    TrackMissing,
    WatchwordError,
)
from pipeline.media.address import shown
from pipeline.media.decode import AudioBlock, AudioDecoder, DecodedFrame, VideoDecoder
from pipeline.media.source import open_source
from tests.synthetic import Spec, Tape, clip, garbage, published, text, truncated, with_bytes

pytestmark = pytest.mark.unit


def failure(source: Path | str) -> WatchwordError:
    """How publishing the source fails; nothing may have been sent."""
    tape, error = published(source)
    assert error is not None
    assert tape.sent == []
    assert str(error).startswith("stream s: ")
    return error


def test_a_missing_file() -> None:
    error = failure("/no/such/clip.mp4")
    assert isinstance(error, SourceUnavailable)
    assert "/no/such/clip.mp4 does not exist" in str(error)


def test_a_folder(tmp_path: Path) -> None:
    assert isinstance(failure(tmp_path), SourceInvalid)


def test_a_text_file_named_mp4() -> None:
    error = failure(text())
    assert isinstance(error, SourceInvalid)
    assert "is not media" in str(error)


def test_random_bytes_and_an_empty_file() -> None:
    assert isinstance(failure(garbage()), SourceInvalid)
    error = failure(truncated(clip(Spec()), 0))
    assert isinstance(error, SourceInvalid)
    assert "is empty" in str(error)


def test_an_mp4_whose_index_was_cut_off() -> None:
    error = failure(truncated(clip(Spec()), 0.6))
    assert isinstance(error, SourceTruncated)
    assert "index (moov) is missing" in str(error)


def test_a_truncated_file_is_sent_as_far_as_it_goes_and_then_told() -> None:
    tape, error = published(truncated(clip(Spec(container="mkv")), 0.6))
    assert isinstance(error, SourceTruncated)
    assert "stops after" in str(error)
    assert len(tape.chunks("audio")) >= 5
    assert [bool(record.value.end.cause) for record in tape.of("end")] == [True, True]


@pytest.mark.parametrize(("tag", "kept", "lost"), [(b"avc1", "audio", "video"), (b"mp4a", "video", "audio")])
def test_a_track_of_an_unknown_codec_is_named_and_the_other_one_is_sent(tag: bytes, kept: str, lost: str) -> None:
    spec = Spec(audio="aac" if tag == b"avc1" else "libmp3lame")
    path = with_bytes(clip(spec), {tag: b"zz9x"} if tag == b"avc1" else {b"mp4a": b"zz9x", b"esds": b"skip"})
    tape, error = published(path)
    assert isinstance(error, CodecUnsupported)
    assert f"the {lost} codec zz9x" in str(error)
    assert len(tape.chunks(kept)) > 5
    assert tape.chunks(lost) == []
    assert [record.topic for record in tape.of("end")] == ["audio", "video"]


def test_a_source_of_unknown_codecs_only() -> None:
    error = failure(with_bytes(clip(Spec(audio=None)), {b"avc1": b"zz9x"}))
    assert isinstance(error, CodecUnsupported)
    assert "zz9x" in str(error)


def test_a_source_with_neither_track(tmp_path: Path) -> None:
    subtitles = tmp_path / "only.srt"
    subtitles.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n\n")
    error = failure(subtitles)
    assert isinstance(error, TrackMissing)
    assert "neither a sound track nor moving pictures" in str(error)


@pytest.mark.parametrize(
    "url", ["rtsp://user:secret@127.0.0.1:1/x", "http://user:secret@127.0.0.1:1/x.ts?token=secret", "rtmp://127.0.0.1:1/a/b"]
)
def test_a_server_that_is_not_there(url: str) -> None:
    error = failure(url)
    assert isinstance(error, SourceUnavailable)
    assert error.retryable
    assert "secret" not in str(error)


def test_a_kind_of_url_that_is_not_known() -> None:
    error = failure("gopher://example.org/1")
    assert isinstance(error, SourceInvalid)
    assert "gopher is not a kind of source" in str(error)


def test_a_camera_that_is_not_there() -> None:
    assert isinstance(failure("/dev/video97"), SourceUnavailable)


def test_addresses_are_shown_without_secrets() -> None:
    assert shown("rtsp://user:secret@host:554/a?key=1") == "rtsp://host:554/a"
    assert shown("clips/a:b.mp4") == "clips/a:b.mp4"


def test_a_file_whose_name_looks_like_a_url(tmp_path: Path) -> None:
    odd = tmp_path / "a:b c%20.mp4"
    odd.write_bytes(clip(Spec()).read_bytes())
    tape, error = published(odd)
    assert error is None
    assert len(tape.chunks("audio")) > 5


# The shared media

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
ENTRIES = json.loads((MEDIA / "manifest.json").read_text())["entries"] if MEDIA.is_dir() else []
EDGES = {entry["file"]: entry for entry in ENTRIES if entry["file"].startswith("edge/")}

FAIL: dict[str, type[SourceError]] = {
    "edge/truncated_no_moov.mp4": SourceTruncated,
    "edge/zero_bytes.mp4": SourceInvalid,
    "edge/text_named.mp4": SourceInvalid,
    "edge/random_bytes.ts": SourceInvalid,
    "edge/no_samples.mp4": SourceInvalid,
}
TELL: dict[str, type[SourceError]] = {"edge/truncated_faststart.mp4": SourceTruncated}
"""These are sent as far as they go, and then it is told what is wrong."""
FEWER_FRAMES = {
    # Damaged pictures, and those that refer to them, are withheld.
    "edge/corrupt_packets.mp4": range(150),
    "edge/corrupt_packets.ts": range(150),
    "edge/ts_packet_loss.ts": range(20, 140),
    # Nothing states the order in which pictures are shown: FFmpeg's best guess loses the first few.
    "edge/raw_annexb.h264": range(147, 151),
    "edge/mpeg4_mp3.avi": range(143, 151),
    # The pieces overlap by two pictures.
    "edge/res_change.ts": range(148, 151),
}
SECONDS = {
    # Media time is joined where the clock jumps.
    "edge/ts_discontinuity.ts": 6.3,
    "edge/ts_backward_jump.ts": 6.3,
    "edge/hls_discontinuity/index.m3u8": 4.2,
}
STALLED = "edge/hls_live/index.m3u8"


def edges(*left_out: str) -> list[object]:
    if not EDGES:
        return [pytest.param("", marks=pytest.mark.skip(reason="needs the shared test media in ../shared/media"))]
    return [name for name in EDGES if name not in left_out]


@pytest.mark.parametrize("name", list(FAIL) if EDGES else edges())
def test_an_edge_case_that_cannot_be_read_says_so(name: str) -> None:
    assert isinstance(failure(MEDIA / name), FAIL[name])


@pytest.mark.parametrize("name", edges(*FAIL, STALLED))
def test_every_other_edge_case_is_published_and_decoded(name: str) -> None:
    observed = EDGES[name]["observed_pyav18"]
    tape, error = published(MEDIA / name)
    assert type(error) is TELL.get(name, type(None))
    kinds = {stream["type"] for stream in observed["streams"]} & {"audio", "video"}
    if name == "edge/cover_art.mp3":
        kinds = {"audio"}
    assert {record.topic for record in tape.of("chunk")} == kinds
    assert [record.topic for record in tape.of("end")] == ["audio", "video"]
    sound, pictures = decode(tape)
    if "video" in kinds:
        assert len(pictures) in FEWER_FRAMES.get(name, [observed["video_frames"]])
        assert pictures == sorted(set(pictures))
        assert pictures[0] >= 0 if pictures else name in FEWER_FRAMES
    if "audio" in kinds and name != "edge/corrupt_packets.ts":
        heard, end = sound
        rate = next(stream["sr"] for stream in observed["streams"] if stream["type"] == "audio")
        tracks = sum(stream["type"] == "audio" for stream in observed["streams"])
        if tracks == 1:
            assert heard == pytest.approx(observed["audio_samples"] / rate, abs=0.2)
        assert end < (SECONDS.get(name) or observed["duration"]) + 0.2


def decode(tape: Tape) -> tuple[tuple[float, float], list[float]]:
    """Seconds of sound, where it ends, and the times of the pictures; chunks that cannot be decoded are left out."""
    audio, video = AudioDecoder("s"), VideoDecoder("s")
    blocks: list[AudioBlock] = []
    frames: list[DecodedFrame] = []
    for piece in tape.chunks("audio"):
        with contextlib.suppress(MediaUndecodable):
            blocks += audio.decode(piece)
    for piece in tape.chunks("video"):
        with contextlib.suppress(MediaUndecodable):
            frames += video.decode(piece)
    blocks += audio.flush()
    frames += video.flush()
    heard = sum(len(block.samples) for block in blocks) / 16_000
    end = max((block.start + len(block.samples) for block in blocks), default=0) / 16_000
    return (heard, end), [frame.time.seconds for frame in frames]


@pytest.mark.skipif(not EDGES, reason="needs the shared test media in ../shared/media")
def test_a_live_playlist_that_stalls_is_live_and_is_not_waited_for_forever() -> None:
    source = open_source(str(MEDIA / STALLED), read_timeout_s=0.5)
    try:
        assert source.live
        packets = source.packets()
        with pytest.raises((SourceTruncated, SourceUnavailable), match=r"no new segment|lost"):
            for _ in packets:
                pass
    finally:
        source.close()


@pytest.mark.skipif(not EDGES, reason="needs the shared test media in ../shared/media")
def test_the_default_sound_track_is_chosen() -> None:
    tape, _ = published(MEDIA / "edge/multi_audio.mkv")
    assert tape.chunks("audio")[0].audio.codec == "aac"


@pytest.mark.skipif(not EDGES, reason="needs the shared test media in ../shared/media")
@pytest.mark.parametrize("name", ["edge/stereo_right_only.mp4", "edge/surround_5_1.mp4"])
def test_speech_in_one_channel_is_heard(name: str) -> None:
    loudest = {}
    for file in ("edge/base.mp4", name):
        decoder = AudioDecoder("s")
        pieces = published(MEDIA / file)[0].chunks("audio")
        loudest[file] = max(float(abs(block.samples).max()) for piece in pieces for block in decoder.decode(piece))
    assert loudest[name] > 0.3 * loudest["edge/base.mp4"]
