"""The transcribe stage over real packets: with a scripted model, and with the packaged one."""

import asyncio
import contextlib
import json
import re
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import fields
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import Message
from numpy.typing import NDArray
from prometheus_client import REGISTRY
from watchword.v1.errors_pb2 import ErrorEvent
from watchword.v1.events_pb2 import AudioEvent, TranscriptEvent
from watchword.v1.media_pb2 import AudioParameters, Gap, MediaChunk, Packet, Rational
from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.errors import (
    MediaUndecodable,
    MessageInvalid,
    ModelMismatch,
    ModelMissing,
    ServiceUnavailable,
    SettingInvalid,
    WatchwordError,
)
from pipeline.media.chunks import cut, media_start
from pipeline.media.decode import AudioDecoder
from pipeline.timeline import MediaTime
from pipeline.transcribe.engines.ctranslate2 import FasterWhisper
from pipeline.transcribe.hearing import CAREFUL
from pipeline.transcribe.model import LanguageGuess, Passage, Transcriber, load
from pipeline.transcribe.pace import Pace
from pipeline.transcribe.segmentation import Rules
from pipeline.transcribe.stage import Transcribe
from pipeline.transcribe.vad import SpeechDetector, load_detector
from pipeline.transcribe.words import Hypothesis
from tests import sounds, synthetic
from tests.fakes import LoudnessDetector, ScriptedTranscriber

pytestmark = pytest.mark.unit

RATE = 48_000
DEMO = Path(__file__).parents[2] / "samples" / "demo.mp4"
MEDIA = Path(__file__).parents[3] / "shared" / "media"

Script = list[tuple[str, float, float]]
Samples = NDArray[np.float32]


def spoken(*phrases: tuple[float, str], each: float = 0.4) -> Script:
    """The words of phrases that begin at these seconds, one word after another."""
    return [(word, start + n * each, start + (n + 1) * each) for start, text in phrases for n, word in enumerate(text.split())]


def sound(script: Script, seconds: float) -> Samples:
    """A hum for each word, with a short silence around it."""
    time = np.arange(round(seconds * RATE)) / RATE
    loud = np.zeros_like(time)
    for _, start, end in script:
        loud[(time >= start + 0.05) & (time < end - 0.05)] = 0.3
    return (loud * np.sin(2 * np.pi * 300 * time)).astype(np.float32)


def packets(samples: Samples, codec: str = "aac", span: Fraction = Fraction(1, 4)) -> list[MediaChunk]:
    """The sound encoded and cut into chunks of one connection."""
    import av

    context = av.CodecContext.create(codec, "w")
    context.sample_rate, context.layout, context.time_base = RATE, "mono", Fraction(1, RATE)
    context.format = "fltp" if codec == "aac" else "s16"
    context.open()
    fifo = av.AudioFifo()
    if codec != "aac":
        samples = (samples * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples[None, :], format=context.format.name, layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    fifo.write(frame)
    encoded = []
    while (part := fifo.read(1024, partial=True)) is not None:
        encoded += context.encode(part)
    encoded += context.encode(None)
    listed = [
        Packet(pts=packet.pts, dts=packet.dts, duration=packet.duration or 1024, keyframe=True, data=bytes(packet))
        for packet in encoded
        if packet.pts is not None
    ]
    parameters = AudioParameters(codec=codec, extradata=bytes(context.extradata or b""), sample_rate=RATE, channels=1)
    return [
        MediaChunk(
            stream_id="s",
            epoch=1,
            sequence=sequence,
            audio=parameters,
            time_base=Rational(numerator=1, denominator=RATE),
            packets=run,
        )
        for sequence, run in enumerate(cut(listed, Fraction(1, RATE), stream_id="s", span=span))
    ]


def events(chunks: Sequence[MediaChunk]) -> list[AudioEvent]:
    return [AudioEvent(chunk=chunk) for chunk in chunks]


def gap(start: float, end: float) -> AudioEvent:
    return AudioEvent(
        gap=Gap(stream_id="s", id="gap-1", media_start=MediaTime.of(start).to_proto(), media_end=MediaTime.of(end).to_proto())
    )


def moved(chunks: Sequence[MediaChunk], seconds: float, epoch: int) -> list[MediaChunk]:
    """The chunks as they come over a later connection."""
    found = []
    for chunk in chunks:
        copy = MediaChunk()
        copy.CopyFrom(chunk)
        copy.epoch = epoch
        copy.media_offset.CopyFrom(MediaTime.of(seconds).to_proto())
        found.append(copy)
    return found


def stage(script: Script, **options: object) -> Transcribe:
    return Transcribe("s", ScriptedTranscriber(script, **options), LoudnessDetector())  # type: ignore[arg-type]


async def collect(outputs: AsyncIterator[Message]) -> list[TranscriptEvent]:
    """What is said, without the statistics, which count computing time and begin anew with each stage."""
    return [output async for output in outputs if isinstance(output, TranscriptEvent) and not output.HasField("stats")]


def run(transcribe: Transcribe, items: Sequence[AudioEvent]) -> list[list[TranscriptEvent]]:
    """What is said at each item, and last what is said at the end; a refused item says nothing."""

    async def each() -> list[list[TranscriptEvent]]:
        said = []
        for item in items:
            try:
                said.append(await collect(transcribe.process(item)))
            except WatchwordError:
                said.append([])
        return [*said, await collect(transcribe.flush())]

    try:
        return asyncio.run(each())
    finally:
        transcribe.close()


def segments(said: list[list[TranscriptEvent]]) -> list[TranscriptSegment]:
    return [event.segment for events in said for event in events if event.HasField("segment")]


def finals(said: list[list[TranscriptEvent]]) -> list[TranscriptSegment]:
    return [segment for segment in segments(said) if segment.is_final]


TWO = spoken((1.0, "the conference opens on Monday and lasts three days"), (6.5, "lunch is included"))


def test_partials_grow_into_one_final_per_phrase() -> None:
    said = segments(run(stage(TWO), events(packets(sound(TWO, 9)))))
    by_id: dict[str, list[TranscriptSegment]] = {}
    for segment in said:
        by_id.setdefault(segment.id, []).append(segment)
    assert [told[-1].text for told in by_id.values()] == ["the conference opens on Monday and lasts three days", "lunch is included"]
    for identity, told in by_id.items():
        assert [segment.is_final for segment in told] == [False] * (len(told) - 1) + [True]
        assert identity == f"segment-{MediaTime.from_proto(told[0].media_start).millis}"
        assert told[-1].stable == len(told[-1].words)
        assert not told[-1].corrected
        for before, after in pairwise(told):
            assert after.stable >= before.stable
            assert list(after.words[: before.stable]) == list(before.words[: before.stable])
    assert len(by_id) == 2
    assert len(next(iter(by_id.values()))) >= 4


def test_a_segment_carries_where_it_comes_from() -> None:
    final = finals(run(stage(TWO), events(packets(sound(TWO, 9)))))[0]
    assert (final.stream_id, final.language, final.model) == ("s", "en", "scripted")
    assert 0.6 <= MediaTime.from_proto(final.media_start).seconds <= 1.0
    assert 4.6 <= MediaTime.from_proto(final.media_end).seconds <= 5.3
    word = final.words[1]
    assert (word.text, MediaTime.from_proto(word.media_start), word.probability) == ("conference", MediaTime.of(1.4), pytest.approx(0.9))


def test_words_are_told_soon() -> None:
    chunks = packets(sound(TWO, 9))
    said = run(stage(TWO), events(chunks))
    ends = [(chunk.packets[-1].pts + 1024) / RATE for chunk in chunks]
    first = next(end for end, outputs in zip(ends, said, strict=False) if outputs)
    final = next(end for end, outputs in zip(ends, said, strict=False) for event in outputs if event.segment.is_final)
    assert first - 1.0 <= 1.5
    assert final - 4.6 <= 1.0


def test_a_final_that_changes_a_stable_word_says_so() -> None:
    script = spoken((0.5, "a ticket costs twenty five pounds today"))

    class Fickle(ScriptedTranscriber):
        async def transcribe(self, passage: Passage) -> Hypothesis:
            heard = await super().transcribe(passage)
            # Only the final's audio ends in silence.
            wrong = np.abs(passage.samples[-2400:]).max() > 0.05
            words = tuple(type(w)("tickets", w.start, w.end, 0.5) if wrong and w.text == "ticket" else w for w in heard.words)
            return Hypothesis(words)

    said = segments(run(Transcribe("s", Fickle(script), LoudnessDetector()), events(packets(sound(script, 5)))))
    assert said[-2].words[1].text == "tickets"
    assert said[-2].stable > 1
    assert said[-1].words[1].text == "ticket"
    assert said[-1].corrected


def test_a_half_heard_last_word_is_taken_back_only_while_it_is_tentative() -> None:
    script = spoken((0.5, "the workhouse stood behind the old church wall"))
    said = segments(run(stage(script, misheard={"workhouse": "work", "behind": "be", "wall": "war"}), events(packets(sound(script, 6)))))
    for before, after in pairwise(said):
        assert [word.text for word in after.words[: before.stable]] == [word.text for word in before.words[: before.stable]]
    assert said[-1].text == "the workhouse stood behind the old church wall"
    assert not said[-1].corrected


def test_running_speech_is_cut_and_no_word_is_lost_or_repeated() -> None:
    script = spoken((0.5, " ".join(f"word{n}" for n in range(120))), each=0.35)
    said = finals(run(stage(script), events(packets(sound(script, 44)))))
    assert " ".join(segment.text for segment in said).split() == [word for word, _, _ in script]
    assert len(said) >= 3
    for segment in said:
        times = [segment.media_start, *(time for word in segment.words for time in (word.media_start, word.media_end)), segment.media_end]
        assert all(first <= second for first, second in pairwise(map(MediaTime.from_proto, times)))
        assert (MediaTime.from_proto(segment.media_end) - MediaTime.from_proto(segment.media_start)).seconds <= 18.6
    assert not any(segment.corrected for segment in said)


def test_what_the_model_leaves_out_is_heard_again() -> None:
    script = spoken((0.5, "then she wept"), (2.2, "the narratives disagree about the time"))

    class Stops(ScriptedTranscriber):
        async def transcribe(self, passage: Passage) -> Hypothesis:
            heard = await super().transcribe(passage)
            first = [word for word in heard.words if word.start < MediaTime.of(2)]
            return Hypothesis(tuple(first)) if first else heard

    (final,) = finals(run(Transcribe("s", Stops(script), LoudnessDetector()), events(packets(sound(script, 6)))))
    assert final.text == "then she wept the narratives disagree about the time"


def test_a_gap_ends_what_is_open_and_is_passed_on() -> None:
    script = spoken((0.5, "before the gap"), (30.5, "after the gap"))
    before, after = packets(sound(script[:3], 1.8)), moved(packets(sound(spoken((0.5, "after the gap")), 3)), 30, epoch=2)
    outage = gap(1.8, 30.0)
    said = run(stage(script), [*events(before), outage, *events(after)])
    at_gap = said[len(before)]
    assert [event.WhichOneof("event") for event in at_gap] == ["segment", "gap"]
    assert at_gap[0].segment.text == "before the gap"
    assert at_gap[1].gap == outage.gap
    assert [final.text for final in finals(said)] == ["before the gap", "after the gap"]
    assert MediaTime.from_proto(finals(said)[1].words[0].media_start) == MediaTime.of(30.5)


def test_missing_audio_ends_what_is_open_even_unsaid() -> None:
    script = spoken((0.5, "lost and found again"))
    chunks = packets(sound(script, 4))
    chunks = [chunk for chunk in chunks if not 4 <= chunk.sequence < 7]
    ends = [MediaTime.from_proto(final.media_end).seconds for final in finals(run(stage(script), events(chunks)))]
    assert len(ends) == 2
    assert ends[0] == pytest.approx(0.94, abs=0.1)


def test_a_little_lost_audio_costs_no_word_but_its_own() -> None:
    script = spoken((0.5, "what was lost on the way was lost and nothing else"))
    lost = (7, 20, 21, 22, 23)
    chunks = [chunk for chunk in packets(sound(script, 6), span=Fraction(1, 10)) if chunk.sequence not in lost]
    hole = [media_start(chunk).seconds for chunk in chunks if chunk.sequence in (19, 24)]
    model = ScriptedTranscriber(script)
    (final,) = finals(run(Transcribe("s", model, LoudnessDetector()), events(chunks)))
    assert hole[1] - hole[0] > 0.4
    assert final.text == " ".join(word for word, _, _ in script)
    assert [MediaTime.from_proto(word.media_start).seconds for word in final.words] == pytest.approx(
        [start for _, start, _ in script], abs=0.15
    )


def test_damaged_packets_are_counted_and_told() -> None:
    chunks = packets(sound(TWO, 4))
    for packet in (chunks[2].packets[1], *chunks[9].packets):
        packet.data = b"garbage"
    transcribe = stage(TWO)
    before = REGISTRY.get_sample_value("watchword_packets_damaged_total") or 0
    told: list[str] = []

    async def take_in() -> None:
        for item in events(chunks):
            with contextlib.suppress(MediaUndecodable):
                told.extend([said.message async for said in transcribe.process(item) if isinstance(said, ErrorEvent)])

    asyncio.run(take_in())
    transcribe.close()
    assert transcribe.damaged == 1 + len(chunks[9].packets)
    assert len(told) == 1, "a chunk of which nothing can be decoded is refused, which is told by itself"
    assert "1 packet of its sound up to 0:00 could not be decoded" in told[0]
    assert REGISTRY.get_sample_value("watchword_packets_damaged_total") == before + transcribe.damaged


def test_the_end_of_the_stream_ends_what_is_open() -> None:
    script = spoken((0.4, "cut off in mid sent"))
    said = run(stage(script), events(packets(sound(script, 2.4))))
    assert [final.text for final in finals(said)] == ["cut off in mid sent"]
    assert finals(said[-1:])


def test_speech_too_short_for_a_window_is_still_heard_at_the_end() -> None:
    script = spoken((0.1, "yes"))
    assert [final.text for final in finals(run(stage(script), events(packets(sound(script, 0.6)))))] == ["yes"]


def test_without_audio_nothing_is_said() -> None:
    assert run(stage([]), []) == [[]]


def test_silence_costs_no_hearing_and_holds_little() -> None:
    model = ScriptedTranscriber([])
    transcribe = Transcribe("s", model, LoudnessDetector())

    async def listen() -> list[int]:
        held = []
        for item in events(packets(np.zeros(RATE * 20, np.float32))):
            assert all(said.HasField("stats") and not said.stats.words for said in await collect(transcribe.process(item)))
            held.append(transcribe.held)
        return held

    held = asyncio.run(listen())
    assert max(held) <= (1.2 + 0.5 + 0.4) / 0.2
    assert model.heard == []


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_the_same_words_come_of_other_chunk_lengths(codec: str) -> None:
    samples = sound(TWO, 9)
    texts = [
        [final.text for final in finals(run(stage(TWO), events(packets(samples, codec, span))))]
        for span in (Fraction(1, 4), Fraction(1, 2))
    ]
    assert texts[0] == texts[1]


LONG = spoken((0.6, " ".join(f"word{n}" for n in range(70))), (26.0, "and a last one"), each=0.35)


def crash_clips() -> dict[str, tuple[Script, list[AudioEvent]]]:
    gapped = spoken((0.5, "before the gap"), (30.5, "after the gap"), (33.0, "and on"))
    before = packets(sound(gapped[:3], 3))
    after = moved(packets(sound(spoken((0.5, "after the gap"), (3.0, "and on")), 5)), 30, epoch=2)
    damaged = packets(sound(TWO, 9))
    for packet in damaged[11].packets:
        packet.data = b"garbage"
    lossy = [chunk for chunk in packets(sound(TWO, 9)) if chunk.sequence not in (9, 10, 27)]
    torn = [chunk for chunk in packets(sound(TWO, 9)) if chunk.sequence not in (4, 5, 6, 7, 27)]
    return {
        "pauses": (TWO, events(packets(sound(TWO, 9)))),
        "half-second-chunks": (TWO, events(packets(sound(TWO, 9), span=Fraction(1, 2)))),
        "tenth-second-chunks": (TWO, events(packets(sound(TWO, 9), span=Fraction(1, 10)))),
        "running-speech": (LONG, events(packets(sound(LONG, 29)))),
        "gap": (gapped, [*events(before), gap(3, 30), *events(after)]),
        "damage": (TWO, events(damaged)),
        "lost-chunks": (TWO, events(lossy)),
        "much-lost": (TWO, events(torn)),
        "joined-late": (TWO, events(packets(sound(TWO, 9))[7:])),
    }


def replay(make: Callable[[], Transcribe], items: Sequence[AudioEvent], crashes: Sequence[int]) -> None:
    """A new stage that reads the held items says from there on what the old one would have said, byte for byte.

    As the runtime does, items that were refused are neither held nor read again.
    """
    accepted: list[list[AudioEvent]] = []
    helds: list[int] = []

    async def note() -> list[list[bytes]]:
        transcribe, said, taken = make(), [], list[AudioEvent]()
        for item in items:
            try:
                said.append([output.SerializeToString(deterministic=True) for output in await collect(transcribe.process(item))])
                taken.append(item)
            except WatchwordError:
                said.append([])
            accepted.append(list(taken))
            helds.append(transcribe.held)
        said.append([output.SerializeToString(deterministic=True) for output in await collect(transcribe.flush())])
        transcribe.close()
        return said

    uncrashed = asyncio.run(note())
    assert any(uncrashed)
    for crash in crashes:
        again = accepted[crash][len(accepted[crash]) - helds[crash] :]
        said = run(make(), [*again, *items[crash + 1 :]])[len(again) :]
        told = [[output.SerializeToString(deterministic=True) for output in outputs] for outputs in said]
        assert told == uncrashed[crash + 1 :], f"crash after item {crash}, {helds[crash]} held"


@pytest.mark.parametrize("clip", crash_clips())
def test_a_crash_anywhere_changes_nothing_that_follows(clip: str) -> None:
    script, items = crash_clips()[clip]
    stride = max(1, len(items) // 9)
    replay(lambda: stage(script, misheard={"conference": "con", "word30": "wor"}), items, range(stride // 2, len(items), stride))


def test_where_times_are_rounded_a_crash_still_changes_no_word_and_no_id() -> None:
    chunks = packets(sound(TWO, 9))
    for chunk in chunks:
        chunk.time_base.denominator = 1000
        for packet in chunk.packets:
            packet.pts = packet.dts = round(packet.pts / 48)
    items = events(chunks)
    uncrashed = finals(run(stage(TWO), items))

    async def until(crash: int, transcribe: Transcribe) -> tuple[list[list[TranscriptEvent]], int]:
        return [await collect(transcribe.process(item)) for item in items[: crash + 1]], transcribe.held

    for crash in range(3, len(items), 5):
        before, held = asyncio.run(until(crash, stage(TWO)))
        after = run(stage(TWO), items[crash + 1 - held :])[held:]
        assert [(final.id, final.text) for final in finals(before + after)] == [(final.id, final.text) for final in uncrashed]


def test_one_slow_hearing_makes_partials_seldom_for_a_moment_only() -> None:
    script = spoken((0, " ".join(f"w{n}" for n in range(400))))
    chunks = packets(sound(script, 60), codec="pcm_s16le")

    async def partials(*, slow: bool) -> int:
        transcribe = Transcribe("s", ScriptedTranscriber(script), LoudnessDetector())
        count = 0
        for number, item in enumerate(events(chunks)):
            if slow and number == len(chunks) // 4:
                transcribe._pace.heard(1.9, quickly=True)
            async for output in transcribe.process(item):
                later = number > len(chunks) // 2
                count += later and isinstance(output, TranscriptEvent) and output.HasField("segment") and not output.segment.is_final
        return count

    usual = asyncio.run(partials(slow=False))
    assert asyncio.run(partials(slow=True)) >= 0.9 * usual > 10


def test_the_place_of_a_final_does_not_depend_on_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader tells repetitions by their place among what an item says, and after a crash partials may be fewer."""
    script = spoken((0, " ".join(f"w{n}" for n in range(200))))
    chunks = packets(sound(script, 60), codec="pcm_s16le")
    leaps = 0
    for number, chunk in enumerate(chunks):
        for place, packet in enumerate(chunk.packets):
            # Time leaps within some chunks, so that a segment is heard and ends in one.
            leaps += number % 11 == 10 and place == len(chunk.packets) // 2
            packet.pts = packet.dts = packet.pts + leaps * RATE // 5

    async def listed() -> list[list[Message]]:
        transcribe = Transcribe("s", ScriptedTranscriber(script), LoudnessDetector(), rules=Rules(bridged=0))
        return [[output async for output in transcribe.process(item)] for item in events(chunks)]

    def places(said: list[list[Message]]) -> list[tuple[int, int, str]]:
        told = [(item, place, output) for item, outputs in enumerate(said) for place, output in enumerate(outputs)]
        return [
            (item, place, output.segment.id or output.stats.id)
            for item, place, output in told
            if isinstance(output, TranscriptEvent) and (output.segment.is_final or output.HasField("stats"))
        ]

    usual = asyncio.run(listed())
    monkeypatch.setattr(Pace, "step", property(lambda _: None))
    seldom = asyncio.run(listed())
    assert places(usual) == places(seldom)
    assert len(places(usual)) > leaps > 15
    assert sum(map(len, usual)) > sum(map(len, seldom))


def test_held_is_bounded_even_where_nobody_ever_pauses() -> None:
    endless = spoken((0.6, " ".join(f"word{n}" for n in range(600))), each=0.35)
    transcribe = stage(endless)

    async def listen() -> int:
        most = 0
        for item in events(packets(sound(endless, 212))):
            await collect(transcribe.process(item))
            most = max(most, transcribe.held)
        return most

    assert asyncio.run(listen()) <= (75 + 2) / 0.2


@pytest.mark.parametrize(
    ("break_it", "error"),
    [
        (lambda chunk: chunk.packets[0].ClearField("data"), MessageInvalid),
        (lambda chunk: [packet.__setattr__("data", b"garbage") for packet in chunk.packets], MediaUndecodable),
    ],
    ids=["rule", "bytes"],
)
def test_a_bad_chunk_is_refused_and_the_stream_goes_on(break_it: Callable[[MediaChunk], object], error: type[WatchwordError]) -> None:
    chunks = packets(sound(TWO, 9))
    break_it(chunks[24])
    transcribe = stage(TWO)

    async def listen() -> list[str]:
        texts = []
        for item in events(chunks):
            if item.chunk.sequence == 24:
                with pytest.raises(error, match="stream s: "):
                    await collect(transcribe.process(item))
            else:
                texts += [output.segment.text for output in await collect(transcribe.process(item)) if output.segment.is_final]
        return texts

    assert asyncio.run(listen()) == ["the conference opens on Monday and lasts three days", "lunch is included"]


def test_a_failing_model_costs_one_item() -> None:
    script = spoken((0.5, "first words"), (4.0, "second words here"))
    items = events(packets(sound(script, 7)))
    said = run(stage(script, failures=[ModelMismatch("a defect")]), items)
    assert [final.text for final in finals(said)][-1] == "second words here"


def test_a_quick_hearing_that_fails_costs_no_word() -> None:
    script = spoken((0.5, "first words"), (4.0, "second words here"))
    said = run(stage(script, failures=[ServiceUnavailable("a server is away")]), events(packets(sound(script, 7))))
    assert [final.text for final in finals(said)] == ["first words", "second words here"]


def test_a_careful_hearing_that_fails_leaves_what_was_promised_and_is_told() -> None:
    script = spoken((0.5, "these words were promised to you"))

    class Away(ScriptedTranscriber):
        async def transcribe(self, passage: Passage) -> Hypothesis:
            if passage.silence == CAREFUL.silence:
                raise ServiceUnavailable("a server is away")
            return await super().transcribe(passage)

    async def listen() -> tuple[list[TranscriptSegment], list[WatchwordError]]:
        transcribe, said, errors = Transcribe("s", Away(script), LoudnessDetector()), [], []
        for item in events(packets(sound(script, 6))):
            try:
                async for output in transcribe.process(item):
                    assert isinstance(output, TranscriptEvent)
                    said.append(output.segment)
            except WatchwordError as error:
                errors.append(error)
        return said, errors

    said, errors = asyncio.run(listen())
    promised = max((segment for segment in said if not segment.is_final), key=lambda segment: segment.stable)
    (final,) = (segment for segment in said if segment.is_final)
    assert promised.stable > 2
    assert [word.text for word in final.words] == [word.text for word in promised.words[: promised.stable]]
    assert len(errors) == 1


def test_refused_words_are_counted() -> None:
    hum, looping = spoken((1.0, "so it goes and on")), spoken((1.0, "so it goes goes goes goes"), each=0.3)

    def count() -> float:
        return REGISTRY.get_sample_value("watchword_words_refused_total", {"reason": "loop"}) or 0.0

    before = count()
    (final,) = finals(run(stage(looping), events(packets(sound(hum, 5)))))
    assert final.text == "so it goes"
    assert count() == before + 3


# --- the packaged models ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Transcriber:
    return load()


@pytest.fixture(scope="module")
def vad() -> SpeechDetector:
    return load_detector()


class Remembering:
    """A real model that does the same audio once, so that going over a clip again is quick; and tells whether it was new."""

    def __init__(self, model: Transcriber) -> None:
        self._model = model
        self._known: dict[tuple[object, ...], Hypothesis] = {}
        self.name, self.languages, self.continues = model.name, model.languages, model.continues

    async def transcribe(self, passage: Passage) -> Hypothesis:
        key = (passage.samples.tobytes(), *(getattr(passage, field.name) for field in fields(passage) if field.name != "samples"))
        if key not in self._known:
            self._known[key] = await self._model.transcribe(passage)
        return self._known[key]

    async def identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        return await self._model.identify(samples)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def remembering(model: Transcriber) -> Remembering:
    return Remembering(model)


@pytest.fixture(scope="module")
def demo(remembering: Remembering, vad: SpeechDetector) -> list[list[TranscriptEvent]]:
    return run(Transcribe("s", remembering, vad), events(synthetic.chunks(DEMO, "audio")))


@pytest.fixture(scope="module")
def truth() -> list[tuple[str, float, float]]:
    content = json.loads(DEMO.with_suffix(".json").read_text())
    return [(word["w"], word["start"], word["end"]) for segment in content["segments"] for word in segment["words"]]


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def test_the_sample_clip_is_understood(demo: list[list[TranscriptEvent]]) -> None:
    jiwer = pytest.importorskip("jiwer", reason="the word error rate is counted with jiwer")
    normalizers = pytest.importorskip("whisper.normalizers", reason="numbers are compared as openai-whisper writes them")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves a file of its own open
        normalise = normalizers.EnglishTextNormalizer()
    reference = json.loads(DEMO.with_suffix(".json").read_text())["transcript"]
    heard = " ".join(final.text for final in finals(demo))
    assert jiwer.wer(normalise(reference), normalise(heard)) <= 0.05


def test_words_have_their_times_and_silence_has_no_words(demo: list[list[TranscriptEvent]], truth: Script) -> None:
    deviations = []
    for final in finals(demo):
        for word in final.words:
            start, end = (MediaTime.from_proto(time).seconds for time in (word.media_start, word.media_end))
            assert any(begin - 0.5 < end and start < close + 0.5 for _, begin, close in truth), f"{word.text} at {start:.2f} s in silence"
            same = [(begin, close) for text, begin, close in truth if plain(text) == plain(word.text) and abs(begin - start) < 2]
            if same:
                begin, close = min(same, key=lambda times: abs(times[0] - start))
                deviations += [abs(begin - start), abs(close - end)]
    assert len(deviations) > 180
    assert np.mean(deviations) <= 0.3


def test_every_segment_of_the_sample_clip_ends_in_one_final(demo: list[list[TranscriptEvent]]) -> None:
    said = segments(demo)
    assert {segment.id for segment in said} == {final.id for final in finals(demo)}
    assert len({final.id for final in finals(demo)}) == len(finals(demo))
    times = [MediaTime.from_proto(time) for final in finals(demo) for word in final.words for time in (word.media_start, word.media_end)]
    assert times == sorted(times)


def test_a_crash_changes_nothing_on_the_sample_clip(
    remembering: Remembering, vad: SpeechDetector, demo: list[list[TranscriptEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine that is busy with other work steps would widen in one run and not in another.
    monkeypatch.setattr(Pace, "heard", lambda self, seconds, *, quickly: None)
    items = events(synthetic.chunks(DEMO, "audio"))[:100]
    replay(lambda: Transcribe("s", remembering, vad), items, [7, 12, 15, 22, 30, 41, 48, 53, 66, 77, 85, 97])


def at_16_khz(samples: Samples) -> list[AudioEvent]:
    """The sound as 16-bit samples, a quarter of a second in each chunk."""
    parameters = AudioParameters(codec="pcm_s16le", sample_rate=16_000, channels=1)
    found = []
    for sequence, start in enumerate(range(0, len(samples), 4000)):
        part = (np.clip(samples[start : start + 4000], -1, 1) * 32767).astype("<i2")
        packet = Packet(pts=start, dts=start, duration=len(part), keyframe=True, data=part.tobytes())
        base = Rational(numerator=1, denominator=16_000)
        found.append(MediaChunk(stream_id="s", epoch=1, sequence=sequence, audio=parameters, time_base=base, packets=[packet]))
    return events(found)


@pytest.mark.parametrize("kind", sorted(sounds.NONSPEECH))
def test_nothing_is_said_where_nobody_speaks(kind: str, model: Transcriber, vad: SpeechDetector) -> None:
    assert segments(run(Transcribe("s", model, vad), at_16_khz(sounds.NONSPEECH[kind]()))) == []


@pytest.mark.parametrize("kind", ["applause", "babble", "laughter", "humming", "band"])
def test_nothing_is_said_over_what_follows_speech(kind: str, model: Transcriber, vad: SpeechDetector) -> None:
    speech = decoded("audio/other/jfk.wav")
    items = at_16_khz(np.concatenate([speech, np.zeros(8000, np.float32), sounds.NONSPEECH[kind]()]))
    heard = [plain(word.text) for final in finals(run(Transcribe("s", model, vad), items)) for word in final.words]
    assert heard == JFK.split()


def decoded(file: str) -> Samples:
    """The sound of a file of the shared test media, at 16 kHz."""
    decoder = AudioDecoder("s")
    blocks = [block for item in shared(file) for block in decoder.decode(item.chunk)]
    return np.concatenate([block.samples for block in blocks])


JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


def shared(file: str) -> list[AudioEvent]:
    path = MEDIA / file
    if not path.is_file():
        pytest.skip(f"needs the shared test media ({file})")
    return events(synthetic.chunks(path, "audio"))


@pytest.mark.parametrize("file", ["audio/derived/nonspeech_trumpet.flac", "audio/derived/nonspeech_robin.flac"])
def test_nothing_is_said_over_recorded_music_and_birds(file: str, model: Transcriber, vad: SpeechDetector) -> None:
    assert segments(run(Transcribe("s", model, vad), shared(file))) == []


def test_an_old_speech_is_understood(model: Transcriber, vad: SpeechDetector) -> None:
    said = finals(run(Transcribe("s", model, vad), shared("audio/other/jfk.wav")))
    heard = [plain(word.text) for final in said for word in final.words]
    assert heard == JFK.split()


def test_another_language_is_refused_with_a_reason(model: Transcriber) -> None:
    with pytest.raises(SettingInvalid, match=r'"de": whisper-tiny.en knows only English \("en"\)'):
        asyncio.run(model.transcribe(Passage(np.zeros(16_000, np.float32), MediaTime(0), language="de")))


def test_a_directory_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=re.escape(str(tmp_path))):
        FasterWhisper(tmp_path, name="x")


def test_a_model_takes_no_more_than_it_can_hear(model: Transcriber) -> None:
    with pytest.raises(ValueError, match=r"30\.0 s of audio"):
        asyncio.run(model.transcribe(Passage(np.zeros(16_000 * 30, np.float32), MediaTime(0))))


def test_a_detector_can_go_on_from_any_state(vad: SpeechDetector) -> None:
    samples = np.random.default_rng(1).standard_normal(512 * 40).astype(np.float32)

    async def both() -> tuple[list[float], list[float]]:
        whole, _ = await vad.probabilities(samples, None)
        first, state = await vad.probabilities(samples[: 512 * 15], None)
        rest, _ = await vad.probabilities(samples[512 * 15 :], state)
        again, _ = await vad.probabilities(samples[512 * 15 :], state)
        assert again == rest
        return whole, first + rest

    whole, parts = asyncio.run(both())
    assert whole == parts
    with pytest.raises(ValueError, match="whole frames"):
        asyncio.run(vad.probabilities(samples[:100], None))


def test_the_reference_engine_reads_openai_checkpoints(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the reference engine runs on PyTorch")
    whisper = pytest.importorskip("whisper", reason="the reference engine is openai-whisper")
    torch.manual_seed(0)
    dims = whisper.model.ModelDimensions(80, 1500, 16, 2, 1, 51864, 448, 16, 2, 1)
    network = whisper.model.Whisper(dims)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.save({"dims": vars(dims), "model_state_dict": network.state_dict()}, tmp_path / "random.pt")
    engine = load("random.en", directory=tmp_path)
    heard = asyncio.run(engine.transcribe(Passage(np.zeros(16_000, np.float32), MediaTime.of(5))))
    engine.close()
    assert all(MediaTime.of(5) <= word.start <= word.end for word in heard.words)
    assert engine.languages == {"en"}
    (tmp_path / "random.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ModelMismatch, match=r"random\.pt is not a Whisper checkpoint"):
        load("random.en", directory=tmp_path)
