"""Chunks into sound and pictures: every codec, exact times, exact replays, and every kind of damage."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from watchword.v1.media_pb2 import MediaChunk, Packet, Rational

from pipeline.errors import CodecUnsupported, MediaUndecodable, MessageInvalid, MessageTooLarge, TimeReversed
from pipeline.media.chunks import MAX_BYTES, cut, media_end, media_start, thin, validate
from pipeline.media.decode import AudioBlock, AudioDecoder, DecodedFrame, VideoDecoder
from pipeline.media.grid import SampleGrid
from pipeline.media.resample import Resampler
from pipeline.timeline import MediaTime
from tests.synthetic import Spec, chunks, clip, picture, samples

pytestmark = pytest.mark.unit

RATE = 16_000
Samples = NDArray[np.float32]

VIDEO = [
    ("libx264", "mp4", "h264"),
    ("libx264", "ts", "h264"),
    ("libx265", "mp4", "hevc"),
    ("libvpx-vp9", "webm", "vp9"),
    ("libvpx", "webm", "vp8"),
    ("libsvtav1", "mp4", "av1"),
    ("mjpeg", "mov", "mjpeg"),
    ("mpeg4", "mp4", "mpeg4"),
    ("mpeg2video", "ts", "mpeg2video"),
    ("ffv1", "mkv", "ffv1"),
]
AUDIO = [
    ("aac", "mp4", 48_000, "aac"),
    ("aac", "ts", 44_100, "aac"),
    ("aac", "flv", 44_100, "aac"),
    ("aac", "mkv", 48_000, "aac"),
    ("libopus", "webm", 48_000, "opus"),
    ("libmp3lame", "mp3", 44_100, "mp3"),
    ("libmp3lame", "mkv", 22_050, "mp3"),
    ("flac", "flac", 44_100, "flac"),
    ("flac", "mkv", 48_000, "flac"),
    ("pcm_s16le", "wav", 44_100, "pcm_s16le"),
    ("pcm_mulaw", "wav", 8_000, "pcm_mulaw"),
    ("pcm_s16le", "wav", 16_000, "pcm_s16le"),
    ("ac3", "ts", 48_000, "ac3"),
    ("mp2", "ts", 48_000, "mp3"),
    ("vorbis", "ogg", 44_100, "vorbis"),
]


def heard(pieces: Iterable[MediaChunk], decoder: AudioDecoder | None = None) -> list[AudioBlock]:
    """The blocks of all chunks, with those that touch joined."""
    decoder = decoder or AudioDecoder("s")
    blocks = [block for piece in pieces for block in decoder.decode(piece)] + decoder.flush()
    joined: list[AudioBlock] = []
    for block in blocks:
        if joined and joined[-1].start + len(joined[-1].samples) == block.start:
            last = joined.pop()
            block = AudioBlock(last.start, np.concatenate([last.samples, block.samples]))
        joined.append(block)
    return joined


def seen(pieces: Iterable[MediaChunk], decoder: VideoDecoder | None = None) -> list[DecodedFrame]:
    decoder = decoder or VideoDecoder("s")
    return [frame for piece in pieces for frame in decoder.decode(piece)] + decoder.flush()


def rgb(frame: DecodedFrame) -> NDArray[np.uint8]:
    return np.asarray(frame.frame.to_ndarray(format="rgb24"))


def looks_like(frame: DecodedFrame, expected: NDArray[np.uint8]) -> bool:
    return float(np.abs(rgb(frame).astype(int) - expected.astype(int)).mean()) < 14


def lag(sound: Samples, expected: Samples) -> int:
    """By how many samples `sound` comes after `expected`, within 50 ms."""
    reach, length = 800, min(len(sound), len(expected)) - 1600
    scores = [
        float(np.dot(sound[reach + shift : reach + shift + length], expected[reach : reach + length])) for shift in range(-reach, reach)
    ]
    return int(np.argmax(scores)) - reach


def original(spec: Spec) -> Samples:
    """The clip's sound as it was before encoding, at 16 kHz."""
    sound = samples(spec)
    resampler = Resampler(0, spec.sample_rate)
    return np.concatenate([part for _, part in resampler.push(sound) + resampler.finish()])


# Pictures


@pytest.mark.parametrize(("encoder", "container", "codec"), VIDEO, ids=lambda value: str(value))
def test_every_video_codec_gives_each_frame_at_its_time(encoder: str, container: str, codec: str) -> None:
    spec = Spec(video=encoder, container=container, audio=None, seconds=2, cuts=(30,))
    pieces = chunks(clip(spec), "video")
    frames = seen(pieces)
    assert pieces[0].video.codec == codec
    assert [frame.time.millis for frame in frames] == [40 * n for n in range(50)]
    assert all(looks_like(frames[n], picture(spec, n)) for n in (0, 29, 30, 49))
    assert not looks_like(frames[29], picture(spec, 30))


def test_b_frames_come_in_the_order_in_which_they_are_shown() -> None:
    pieces = chunks(clip(Spec(audio=None, b_frames=3)), "video")
    assert any(packet.HasField("dts") and packet.dts < packet.pts for piece in pieces for packet in piece.packets)
    times = [frame.time for frame in seen(pieces)]
    assert times == sorted(times)
    assert len(times) == 75


def test_a_variable_frame_rate_keeps_the_times_of_the_container() -> None:
    spec = Spec(audio=None, times=(0, 0.1, 0.5, 0.52, 1.9, 4.0))
    assert [frame.time.millis for frame in seen(chunks(clip(spec), "video"))] == [0, 100, 500, 520, 1900, 4000]


def test_decoding_starts_at_the_first_keyframe() -> None:
    decoder = VideoDecoder("s")
    frames = seen(chunks(clip(Spec(audio=None)), "video")[2:], decoder)
    assert frames[0].time.millis == 1000
    assert decoder.skipped > 0
    assert decoder.damaged == 0


def test_a_late_start_gives_the_same_pictures() -> None:
    pieces = chunks(clip(Spec(audio=None)), "video")
    whole = {frame.time: rgb(frame) for frame in seen(pieces)}
    late = seen(pieces[3:])
    assert len(late) == 50
    assert all(np.array_equal(rgb(frame), whole[frame.time]) for frame in late)


def test_after_a_lost_chunk_nothing_is_shown_until_the_next_keyframe() -> None:
    pieces = chunks(clip(Spec(audio=None)), "video")
    del pieces[1]
    times = [frame.time.millis for frame in seen(pieces)]
    assert times[0] == 0
    assert not [time for time in times if 250 <= time < 1000]
    assert [time for time in times if time >= 1000] == [40 * n for n in range(25, 75)]


def test_a_damaged_packet_costs_the_pictures_up_to_the_next_keyframe_only() -> None:
    pieces = chunks(clip(Spec(audio=None)), "video")
    pieces[1].packets[2].data = b"\x00\x00\x00\x04" + bytes(range(4))
    decoder = VideoDecoder("s")
    frames = seen(pieces, decoder)
    spec = Spec(audio=None)
    assert decoder.damaged == 1
    assert [frame.time.millis for frame in frames if frame.time.millis >= 1000] == [40 * n for n in range(25, 75)]
    assert all(looks_like(frame, picture(spec, frame.time.millis // 40)) for frame in frames)


def test_a_chunk_of_garbage_is_refused_and_the_stream_goes_on() -> None:
    pieces = chunks(clip(Spec(audio=None)), "video")
    garbage = MediaChunk()
    garbage.CopyFrom(pieces[1])
    for packet in garbage.packets:
        packet.data = np.random.default_rng(1).bytes(200)
    decoder = VideoDecoder("s")
    frames = decoder.decode(pieces[0])
    for packet in garbage.packets:
        packet.keyframe = True
    with pytest.raises(MediaUndecodable, match=r"stream s: none of \d+ h264 packets"):
        decoder.decode(garbage)
    frames += [frame for piece in pieces[2:] for frame in decoder.decode(piece)] + decoder.flush()
    assert [frame.time.millis for frame in frames if frame.time.millis >= 1000] == [40 * n for n in range(25, 75)]


def test_thinned_chunks_give_each_keyframe_at_once_and_full_ones_may_follow() -> None:
    pieces = chunks(clip(Spec(audio=None, gop=10)), "video")
    decoder = VideoDecoder("s")
    thinned = [piece for piece in (thin(piece) for piece in pieces[:6]) if piece is not None]
    early = [[frame.time.millis for frame in decoder.decode(piece)] for piece in thinned]
    assert [time for times in early for time in times] == [0, 400, 800, 1200]
    assert all(early)
    later = [frame for piece in pieces[6:] for frame in decoder.decode(piece)] + decoder.flush()
    assert [frame.time.millis for frame in later] == [40 * n for n in range(40, 75)]


def test_a_new_epoch_and_new_parameters_open_the_decoder_again() -> None:
    first = chunks(clip(Spec(audio=None, seconds=1)), "video")
    second = chunks(clip(Spec(audio=None, seconds=1, video="libvpx-vp9", container="webm", width=96)), "video")
    for piece in second:
        piece.epoch = first[0].epoch + 1
        piece.media_offset.CopyFrom(MediaTime.of(5).to_proto())
    frames = seen([*first, *second])
    assert [frame.time.millis for frame in frames] == [40 * n for n in range(25)] + [5000 + 40 * n for n in range(25)]
    assert (frames[0].frame.width, frames[-1].frame.width) == (160, 96)


def test_pictures_before_zero_are_not_shown() -> None:
    pieces = chunks(clip(Spec(audio=None, seconds=1)), "video")
    for piece in pieces:
        piece.media_offset.CopyFrom(MediaTime.of(-0.4).to_proto())
    assert [frame.time.millis for frame in seen(pieces)] == [40 * n for n in range(15)]


def test_pictures_of_a_second_ago_are_refused() -> None:
    pieces = chunks(clip(Spec(audio=None)), "video")
    decoder = VideoDecoder("s")
    before = [frame for piece in pieces[:10] for frame in decoder.decode(piece)]
    with pytest.raises(TimeReversed, match=r"stream s: a chunk at 0\.000 s"):
        decoder.decode(pieces[0])
    after = [frame for piece in pieces[10:] for frame in decoder.decode(piece)] + decoder.flush()
    assert len(before) + len(after) == 75


# Sound


@pytest.mark.parametrize(("encoder", "container", "rate", "codec"), AUDIO, ids=lambda value: str(value))
def test_every_audio_codec_is_heard_at_its_time(encoder: str, container: str, rate: int, codec: str) -> None:
    layout = "stereo" if encoder == "vorbis" else "mono"
    spec = Spec(video=None, audio=encoder, container=container, sample_rate=rate, sound="chirp", layout=layout)
    pieces = chunks(clip(spec), "audio")
    block, *rest = heard(pieces)
    assert pieces[0].audio.codec == codec
    assert rest == []
    assert block.samples.dtype == np.float32
    assert block.start < 0.06 * RATE
    assert block.start + len(block.samples) >= 2.99 * RATE
    sound = np.concatenate([np.zeros(block.start, np.float32), block.samples])
    # Without pictures beside it, a container that states no run-in of the encoder starts with it.
    run_in = 0.025 * RATE if container in ("ts", "flv") else 0
    assert -0.0015 * RATE <= lag(sound, original(spec)) <= run_in + 0.0015 * RATE
    assert 0.25 < np.percentile(np.abs(block.samples), 99.5) < 0.35


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_sound_and_pictures_keep_step(container: str, rate: int) -> None:
    spec = Spec(container=container, sample_rate=rate, sound="chirp")
    frames = seen(chunks(clip(spec), "video"))
    block = heard(chunks(clip(spec), "audio"))[0]
    sound = np.concatenate([np.zeros(block.start, np.float32), block.samples])
    assert abs(lag(sound, original(spec)) / RATE - frames[0].time.seconds) < 0.0025


@pytest.mark.parametrize(
    ("encoder", "container", "rate"),
    [
        ("aac", "mp4", 44_100),
        ("aac", "mp4", 48_000),
        ("aac", "flv", 44_100),
        ("aac", "mkv", 48_000),
        ("aac", "ts", 44_100),
        ("libopus", "webm", 48_000),
        ("libmp3lame", "mkv", 44_100),
        ("libmp3lame", "mp3", 22_050),
        ("flac", "flac", 44_100),
        ("pcm_s16le", "wav", 44_100),
        ("pcm_s16le", "wav", 11_025),
        ("pcm_s16le", "wav", 96_000),
        ("pcm_mulaw", "wav", 8_000),
        ("ac3", "ts", 44_100),
    ],
)
def test_after_its_first_chunk_a_late_start_hears_the_same_to_the_bit(encoder: str, container: str, rate: int) -> None:
    pieces = chunks(clip(Spec(video=None, audio=encoder, container=container, sample_rate=rate, sound="speech")), "audio")
    (whole,) = heard(pieces)
    for start in range(1, len(pieces) - 2):
        (late,) = heard(pieces[start:])
        begin = late.start + len(late.samples) - sum(len(block.samples) for block in heard(pieces[start + 1 :])) + 32
        assert late.start + len(late.samples) == whole.start + len(whole.samples)
        assert np.array_equal(late.samples[begin - late.start :], whole.samples[begin - whole.start :]), start


def test_a_call_holds_back_a_millisecond_at_most() -> None:
    decoder = AudioDecoder("s")
    for piece in chunks(clip(Spec(video=None)), "audio")[:-1]:
        (block,) = decoder.decode(piece)
        assert 0 <= media_end(piece).seconds - (block.start + len(block.samples)) / RATE < 0.0015


def pcm(start: float, seconds: float, sequence: int, *, rate: int = 48_000, base: int = 48_000, epoch: int = 1) -> MediaChunk:
    """A chunk of packets of 20 ms of a ramp that tells its own media time: value = seconds / 100."""
    length = rate // 50
    piece = MediaChunk(stream_id="s", epoch=epoch, sequence=sequence, time_base=Rational(numerator=1, denominator=base))
    piece.audio.codec, piece.audio.sample_rate, piece.audio.channels = "pcm_f32le", rate, 1
    for number in range(round(seconds * 50)):
        time = start + number / 50
        values = (time + np.arange(length) / rate) / 100
        piece.packets.append(Packet(pts=round(time * base), duration=base // 50, keyframe=True, data=values.astype("<f4").tobytes()))
    return piece


def test_rounded_stamps_leave_no_gap_and_do_not_drift() -> None:
    rng = np.random.default_rng(3)
    pieces = [pcm(n * 0.2, 0.2, n, base=1000) for n in range(300)]
    for piece in pieces[1:]:
        for packet in piece.packets:
            packet.pts += int(rng.integers(-4, 5))
    (block,) = heard(pieces)
    assert (block.start, len(block.samples)) == (0, 60 * RATE)
    middle = block.samples[1000:-1000]
    assert np.abs(middle - (np.arange(1000, 60 * RATE - 1000) / RATE / 100)).max() < 1e-5


def test_an_offset_that_stays_is_believed() -> None:
    pieces = [pcm(n * 0.2, 0.2, n) for n in range(10)]
    for piece in pieces[3:]:
        piece.media_offset.CopyFrom(MediaTime.of(0.010).to_proto())
    blocks = heard(pieces)
    assert blocks[-1].start + len(blocks[-1].samples) == round(2.01 * RATE)


def test_a_real_gap_starts_a_block_where_it_is_stated() -> None:
    first, second = heard([pcm(0, 0.4, 0), pcm(1.0, 0.4, 1)])
    assert (first.start, len(first.samples)) == (0, 0.4 * RATE)
    assert (second.start, len(second.samples)) == (1.0 * RATE, 0.4 * RATE)
    assert abs(second.samples[100] - (1.0 + 100 / RATE) / 100) < 1e-5


def test_one_lost_packet_is_a_gap_and_not_taken_for_jitter() -> None:
    pieces = [pcm(0, 0.2, 0), pcm(0.2, 0.2, 1)]
    del pieces[1].packets[4]
    first, second = heard(pieces)
    assert (len(first.samples), second.start) == (0.28 * RATE, 0.30 * RATE)


def test_sound_that_overlaps_is_heard_once() -> None:
    (block,) = heard([pcm(0, 0.4, 0), pcm(0.2, 0.4, 1)])
    assert (block.start, len(block.samples)) == (0, 0.6 * RATE)


def test_sound_of_a_second_ago_is_refused_and_the_stream_goes_on() -> None:
    decoder = AudioDecoder("s")
    decoder.decode(pcm(0, 0.4, 0))
    decoder.decode(pcm(2.0, 0.4, 1))
    with pytest.raises(TimeReversed, match=r"stream s: a chunk at 1\.300 s came after sound up to 2\.400 s"):
        decoder.decode(pcm(1.3, 0.4, 2))
    assert decoder.decode(pcm(2.4, 0.4, 3))[-1].start >= 2.39 * RATE


def test_a_new_epoch_goes_on_on_the_same_clock() -> None:
    first, second = heard([pcm(0, 0.4, 0), pcm(3.0, 0.4, 0, rate=44_100, base=44_100, epoch=2)])
    assert (first.start, second.start) == (0, 3 * RATE)
    assert abs(second.samples[200] - (3.0 + 200 / RATE) / 100) < 1e-5


def test_damaged_packets_are_counted_and_leave_a_gap() -> None:
    pieces = chunks(clip(Spec(video=None)), "audio")
    pieces[4].packets[3].data = b"\xff" * 40
    decoder = AudioDecoder("s")
    first, second = heard(pieces, decoder)
    assert decoder.damaged == 1
    assert second.start - (first.start + len(first.samples)) == pytest.approx(1024 / 48_000 * RATE, abs=1)


def test_a_chunk_of_garbage_sound_is_refused_and_the_stream_goes_on() -> None:
    pieces = chunks(clip(Spec(video=None)), "audio")
    for packet in pieces[4].packets:
        packet.data = b"\xff" * 40
    decoder = AudioDecoder("s")
    before = [block for piece in pieces[:4] for block in decoder.decode(piece)]
    with pytest.raises(MediaUndecodable, match=r"stream s: none of \d+ aac packets"):
        decoder.decode(pieces[4])
    after = heard(pieces[5:], decoder)
    assert before[0].start == 0
    assert after[-1].start == pytest.approx(media_start(pieces[5]).seconds * RATE, abs=1)


def test_all_channels_are_heard_and_none_is_louder_than_full_scale() -> None:
    right = pcm(0, 0.4, 0)
    right.audio.channels = 2
    for packet in right.packets:
        mono = np.ones(960, "<f4")
        packet.data = np.stack([0 * mono, mono], axis=1).astype("<f4").tobytes()
    (block,) = heard([right])
    assert np.allclose(block.samples[100:-100], 0.5, atol=1e-3)
    for packet in right.packets:
        packet.data = np.ones((960, 2), "<f4").tobytes()
    (block,) = heard([right])
    assert np.abs(block.samples[100:-100]).max() <= 1.001


@pytest.mark.parametrize("layout", ["stereo", "5.1"])
def test_more_channels_decode_to_one(layout: str) -> None:
    block = heard(chunks(clip(Spec(video=None, layout=layout)), "audio"))[0]
    assert 0.2 < float(np.abs(block.samples).max()) < 1


# Rules


def broken(**changes: object) -> MediaChunk:
    piece = pcm(0, 0.1, 0)
    for name, value in changes.items():
        setattr(piece, name, value)
    return piece


def without(name: str) -> MediaChunk:
    piece = pcm(0, 0.1, 0)
    piece.ClearField(name)
    return piece


def with_packet(**changes: object) -> MediaChunk:
    piece = pcm(0, 0.1, 0)
    for name, value in changes.items():
        setattr(piece.packets[-1], name, value)
    return piece


@pytest.mark.parametrize(
    ("piece", "problem"),
    [
        (without("packets"), "without packets"),
        (without("audio"), "neither audio nor video parameters"),
        (without("time_base"), "time base of 0/0"),
        (broken(stream_id="t"), "'t' does not belong here"),
        (broken(sequence=-1), "negative epoch or sequence"),
        (with_packet(data=b""), "packet without bytes"),
        (with_packet(duration=-5), "negative duration"),
        (with_packet(data=bytes(MAX_BYTES)), "more than 900,000"),
        (with_packet(pts=48_000), "span 1.000 s"),
        (with_packet(pts=2**62), "ten years"),
        (with_packet(dts=-(2**62)), "ten years"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_chunk_that_breaks_a_rule_is_refused_with_the_rule(piece: MediaChunk, problem: str) -> None:
    with pytest.raises(MessageInvalid, match=problem) as caught:
        validate(piece, "s")
    assert str(caught.value).startswith("stream s: ")
    if piece.HasField("audio"):
        with pytest.raises(MessageInvalid, match=problem):
            AudioDecoder("s").decode(piece)


@pytest.mark.parametrize(("field", "value"), [("sample_rate", 0), ("channels", 0), ("channels", 1000), ("codec", "")])
def test_audio_parameters_must_make_sense(field: str, value: object) -> None:
    piece = pcm(0, 0.1, 0)
    setattr(piece.audio, field, value)
    with pytest.raises(MessageInvalid, match="stream s: "):
        AudioDecoder("s").decode(piece)


def test_an_unknown_codec_is_named() -> None:
    piece = pcm(0, 0.1, 0)
    piece.audio.codec = "brand-new"
    with pytest.raises(CodecUnsupported, match="stream s: no decoder here knows the audio codec 'brand-new'"):
        AudioDecoder("s").decode(piece)


def test_a_codec_of_the_other_kind_is_refused() -> None:
    piece = pcm(0, 0.1, 0)
    piece.audio.codec = "h264"
    with pytest.raises(MessageInvalid, match="h264 is a codec for video, not for audio"):
        AudioDecoder("s").decode(piece)


def test_each_decoder_takes_its_own_track_only() -> None:
    with pytest.raises(MessageInvalid, match="audio packets came where video is expected"):
        VideoDecoder("s").decode(pcm(0, 0.1, 0))
    with pytest.raises(MessageInvalid, match="video packets came where audio is expected"):
        AudioDecoder("s").decode(chunks(clip(Spec(audio=None)), "video")[0])


def test_damaged_extradata_is_refused() -> None:
    piece = chunks(clip(Spec(audio=None)), "video")[0]
    piece.video.extradata = b"\x01\x64\x00" + bytes(200)
    with pytest.raises((CodecUnsupported, MediaUndecodable), match="stream s: "):
        VideoDecoder("s").decode(piece)


def test_thin_leaves_the_keyframes() -> None:
    pieces = chunks(clip(Spec(audio=None)), "video")
    first, second = thin(pieces[0]), thin(pieces[1])
    assert first is not None
    assert (len(first.packets), first.thinned, first.sequence) == (1, True, 0)
    assert second is None
    sound = pcm(0, 0.1, 0)
    assert thin(sound) is sound


def test_packets_are_cut_by_time_and_by_size() -> None:
    packets = [Packet(pts=n * 40, duration=40, data=bytes(1000)) for n in range(100)]
    runs = list(cut(packets, Fraction(1, 1000), stream_id="s"))
    assert [packet for run in runs for packet in run] == packets
    assert {len(run) for run in runs} <= {12, 4}
    large = [Packet(pts=n, duration=1, data=bytes(400_000)) for n in range(5)]
    assert [len(run) for run in cut(large, Fraction(1, 1000), stream_id="s")] == [2, 2, 1]
    with pytest.raises(MessageTooLarge, match=r"stream s: a single packet of 900,001 bytes"):
        list(cut([Packet(data=bytes(MAX_BYTES + 1))], Fraction(1, 1000), stream_id="s"))


def test_the_grid_counts_through_jitter_and_believes_the_rest() -> None:
    grid = SampleGrid(48_000)
    assert grid.place(100, 960) == (100, 0)
    assert grid.place(1060 + 500, 960) == (1060, 0)
    assert grid.place(2020 + 900, 960) == (2920, 0)
    assert grid.place(3000, 960) == (3880, 880)
    grid.lose()
    assert grid.place(3960 + 500, 960) == (4460, 0)
    assert grid.is_reversed(5420 - 48_001)
    assert not grid.is_reversed(5420 - 48_000)
