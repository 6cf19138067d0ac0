"""Captions as they are asked for, and languages as they are told: a scripted model behind the whole stage."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from watchword.v1.events_pb2 import AudioEvent, TranscriptEvent
from watchword.v1.transcript_pb2 import TranscriptSegment, TranscriptStatistics

from pipeline.errors import ServiceUnavailable, SettingInvalid
from pipeline.timeline import MediaTime
from pipeline.transcribe.hearing import CAREFUL, QUICK
from pipeline.transcribe.language import AGAIN, ENOUGH, FIRST
from pipeline.transcribe.model import LanguageGuess, Passage, Task
from pipeline.transcribe.options import OPTIONS, Options
from pipeline.transcribe.segmentation import RATE, RULES, UNHURRIED, Rules
from pipeline.transcribe.stability import TRUST, Trust
from pipeline.transcribe.stage import Transcribe
from pipeline.transcribe.statistics import EVERY
from pipeline.transcribe.words import HeardWord, Hypothesis, written
from tests.fakes import LoudnessDetector, MultilingualTranscriber
from tests.pipeline.test_transcribe import RATE as SOUND_RATE
from tests.pipeline.test_transcribe import Samples, Script, events, gap, packets, spoken

pytestmark = pytest.mark.unit

Voices = Mapping[str, Script]
"""What is said, by language."""


def talk(start: float, seconds: float, word: str = "word", each: float = 0.4) -> Script:
    """Someone speaks without a pause, a sentence in two seconds."""
    count = round(seconds / each)
    return spoken((start, " ".join(f"{word}{n}{'.' if n % 5 == 4 else ''}" for n in range(count))), each=each)


def hum(seconds: float, voices: Voices, loud: Mapping[str, float] | None = None) -> Samples:
    """Each language at its pitch; some louder than others."""
    time = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    found = np.zeros_like(time)
    for language, script in voices.items():
        level = np.zeros_like(time)
        for _, start, end in script:
            level[(time >= start + 0.02) & (time < end - 0.02)] = (loud or {}).get(language, 0.2)
        found += level * np.sin(2 * np.pi * MultilingualTranscriber.pitches[language] * time)
    return found.astype(np.float32)


def all_words(voices: Voices) -> Script:
    return sorted((word for script in voices.values() for word in script), key=lambda word: word[1])


class Telling(MultilingualTranscriber):
    """Notes which language it identified."""

    def __init__(self, words: Sequence[tuple[str, float, float]]) -> None:
        super().__init__(words)
        self.identified: list[LanguageGuess] = []

    async def identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        guesses = await super().identify(samples)
        self.identified.append(guesses[0])
        return guesses


class Heard:
    """All that is said of a stream."""

    def __init__(
        self,
        items: Sequence[AudioEvent],
        model: MultilingualTranscriber,
        options: Options = OPTIONS,
        rules: Rules | None = None,
        trust: Trust = TRUST,
    ) -> None:
        self.held: list[int] = []
        self.before_the_end = 0
        self.said: list[TranscriptEvent] = []
        asyncio.run(self._listen(items, Transcribe("s", model, LoudnessDetector(), options=options, rules=rules, trust=trust)))

    async def _listen(self, items: Sequence[AudioEvent], stage: Transcribe) -> None:
        try:
            for item in items:
                self.said += [output async for output in stage.process(item) if isinstance(output, TranscriptEvent)]
                self.held.append(stage.held)
            self.before_the_end = len(self.said)
            self.said += [output async for output in stage.flush() if isinstance(output, TranscriptEvent)]
        finally:
            stage.close()

    @property
    def segments(self) -> list[TranscriptSegment]:
        return [event.segment for event in self.said if event.HasField("segment")]

    @property
    def finals(self) -> list[TranscriptSegment]:
        """Without translations."""
        return [segment for segment in self.segments if segment.is_final and not segment.translation_of]

    @property
    def statistics(self) -> list[TranscriptStatistics]:
        return [event.stats for event in self.said if event.HasField("stats")]


def heard(voices: Voices, seconds: float | None = None, rules: Rules | None = None, **options: object) -> Heard:
    """What is said of these voices, and of a second of silence behind them, by a model that hears all as it is."""
    script = all_words(voices)
    sound = hum(script[-1][2] + 1 if seconds is None else seconds, voices)
    return Heard(events(packets(sound)), MultilingualTranscriber(script), Options(**options), rules)  # type: ignore[arg-type]


def listened(voices: Voices, loud: Mapping[str, float] | None = None) -> tuple[Heard, list[str]]:
    """And the languages that were identified one after another."""
    script = all_words(voices)
    model = Telling(script)
    return Heard(events(packets(hum(script[-1][2] + 1, voices, loud))), model), [guess.language for guess in model.identified]


# Languages


def test_the_language_is_told_from_the_first_speech() -> None:
    found = heard({"de": talk(0.5, 8)})
    assert {final.language for final in found.finals} == {"de"}
    assert all(final.language_probability > 0.9 for final in found.finals)
    assert all(final.text == final.text.upper() for final in found.finals), "the model is asked for German"
    partials = [segment for segment in found.segments if not segment.is_final]
    assert [partial.language for partial in partials] == sorted((partial.language for partial in partials), reverse=True)
    early = [MediaTime.from_proto(partial.media_end) for partial in partials if partial.language_probability == 0]
    assert max(early).seconds <= 0.5 + FIRST / RATE + 0.3
    assert partials[-1].language == "de"
    assert partials[-1].language_probability > 0.9


def test_a_language_that_is_asked_for_is_not_identified() -> None:
    script = talk(0.5, 6)
    model = Telling(script)
    found = Heard(events(packets(hum(7.5, {"fr": script}))), model, Options(language="de"))
    assert {(segment.language, segment.language_probability) for segment in found.segments} == {("de", 0)}
    assert {passage.language for passage in model.asked} == {"de"}
    assert model.identified == []


def test_a_language_that_the_model_does_not_know_is_refused_at_once() -> None:
    with pytest.raises(SettingInvalid, match='language "eo": multilingual does not know it; it knows de, en, fr'):
        Transcribe("s", MultilingualTranscriber([]), LoudnessDetector(), options=Options(language="eo"))


class Unasked(Telling):
    """Takes everything for a language that it cannot be asked for, as a server may."""

    async def identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        return (LanguageGuess("eo", 0.99),)


def test_a_language_that_the_model_cannot_be_asked_for_is_not_believed() -> None:
    script = talk(0.5, 6)
    found = Heard(events(packets(hum(7.5, {"en": script}))), Unasked(script))
    assert {segment.language for segment in found.segments} == {"en"}
    assert [word.text for final in found.finals for word in final.words] == [text for text, _, _ in script]


class Away(Telling):
    """Cannot be reached the first times that it is to identify a language."""

    def __init__(self, words: Sequence[tuple[str, float, float]], times: int) -> None:
        super().__init__(words)
        self._times = times

    async def identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        self._times -= 1
        if self._times >= 0:
            raise ServiceUnavailable("a server is away")
        return await super().identify(samples)


def test_a_language_that_cannot_be_identified_yet_costs_no_word() -> None:
    script = talk(0.5, 8)
    found = Heard(events(packets(hum(9.5, {"de": script}))), Away(script, times=2))
    assert [word.text.lower() for final in found.finals for word in final.words] == [text for text, _, _ in script]
    assert found.finals[-1].language == "de"


def test_a_final_whose_language_cannot_be_identified_has_what_was_promised_and_the_failure_is_told() -> None:
    script = talk(0.5, 2.4)
    stage, said, errors = Transcribe("s", Away(script, times=1_000), LoudnessDetector()), [], []

    async def listen() -> None:
        for item in events(packets(hum(5, {"de": script}))):
            try:
                async for output in stage.process(item):
                    if isinstance(output, TranscriptEvent):
                        said.append(output.segment)  # noqa: PERF401 - `extend` would lose what came before an error
            except ServiceUnavailable as error:
                errors.append(error)

    asyncio.run(listen())
    promised = max((segment for segment in said if not segment.is_final), key=lambda segment: segment.stable)
    (final,) = (segment for segment in said if segment.is_final)
    assert promised.stable > 2
    assert [word.text for word in final.words] == [word.text for word in promised.words[: promised.stable]]
    assert len(errors) == 1


def test_a_stream_may_change_its_language() -> None:
    german = talk(0.5, ENOUGH / RATE + 4, "de")
    french = talk(german[-1][2] + 0.8, (2 * AGAIN + 2 * ENOUGH) / RATE, "fr")
    finals = heard({"de": german, "fr": french}).finals
    languages = [final.language for final in finals]
    assert languages[0] == "de"
    assert languages[-1] == "fr"
    assert languages == sorted(languages), "it changes once"
    changed = MediaTime.from_proto(finals[languages.index("fr")].media_start).seconds
    assert changed <= french[0][1] + (AGAIN + ENOUGH + RULES.longest) / RATE


def interjected(seconds: float) -> tuple[Script, Script, Script]:
    """German, and something else where the language is identified again."""
    first = talk(0.5, (ENOUGH + AGAIN) / RATE - 1, "a")
    other = talk(first[-1][2] + 0.8, seconds, "b")
    return first, other, talk(other[-1][2] + 0.8, (ENOUGH + AGAIN) / RATE, "c")


def test_one_remark_in_another_language_changes_nothing() -> None:
    before, remark, after = interjected(2.4)
    found, identified = listened({"de": before + after, "fr": remark})
    assert "fr" in identified
    assert {final.language for final in found.finals} == {"de"}


def test_unsure_guesses_change_nothing() -> None:
    before, both, after = interjected((AGAIN + 2 * ENOUGH) / RATE)
    found, identified = listened({"de": before + both + after, "fr": both}, {"de": 0.2, "fr": 0.25})
    assert identified.count("fr") >= 2
    assert {final.language for final in found.finals} == {"de"}


def test_unsure_guesses_change_nothing_where_everybody_is_brief() -> None:
    each = ENOUGH / RATE * 0.6
    remarks = [talk(0.5 + n * (each + 1), each, f"r{n}w") for n in range(12)]
    both = [word for remark in remarks[5:9] for word in remark]
    found, identified = listened({"de": [word for remark in remarks for word in remark], "fr": both}, {"de": 0.2, "fr": 0.25})
    assert "fr" in identified
    assert {final.language for final in found.finals[1:]} == {"de"}


# Translation


def test_each_final_is_followed_by_its_translation() -> None:
    found = heard({"de": talk(0.5, 8)}, translate=True)
    told = [segment for segment in found.segments if segment.is_final]
    assert len(found.finals) >= 2
    assert len(told) == 2 * len(found.finals)
    for said, translated in zip(told[::2], told[1::2], strict=True):
        assert not said.translation_of
        assert (translated.translation_of, translated.language, translated.is_final) == (said.id, "en", True)
        assert (translated.media_start, translated.media_end) == (said.media_start, said.media_end)
        assert translated.text == " ".join(f"{word.lower()}-en" for word in said.text.split())
        assert translated.stable == len(translated.words)
    assert len({segment.id for segment in told}) == len(told)


def test_a_translation_takes_nothing_from_the_finals() -> None:
    voices = {"de": talk(0.5, 8)}
    assert heard(voices, translate=True).finals == heard(voices).finals


def test_partials_are_not_translated() -> None:
    found = heard({"de": talk(0.5, 8)}, translate=True)
    assert all(segment.is_final for segment in found.segments if segment.translation_of or "-en" in segment.text)


def test_english_is_not_translated() -> None:
    found = heard({"en": talk(0.5, 8)}, translate=True)
    assert not any(segment.translation_of for segment in found.segments)


def test_translations_are_not_counted() -> None:
    voices = {"de": talk(0.5, 8)}
    assert heard(voices, translate=True).statistics[-1].words == heard(voices).statistics[-1].words == len(voices["de"])


# Finals alone


TALKS: dict[str, Voices] = {
    "sentences": {"en": talk(0.5, 14)},
    "no-sentences": {"en": spoken((0.5, " ".join(f"word{n}" for n in range(40))))},
    "pauses": {"en": talk(0.5, 3, "a") + talk(5, 7, "b") + talk(16, 2, "c")},
}


def plain(final: TranscriptSegment) -> TranscriptSegment:
    """Without what counts partials, and without how sure the language is, which is asked at other moments."""
    copy = TranscriptSegment()
    copy.CopyFrom(final)
    copy.ClearField("revision")
    copy.ClearField("language_probability")
    return copy


@pytest.mark.parametrize("name", TALKS)
def test_without_partials_the_words_are_the_same(name: str) -> None:
    both, alone = heard(TALKS[name]), heard(TALKS[name], interim=False, recorded=True)
    assert len(both.segments) > len(both.finals)
    assert all(segment.is_final for segment in alone.segments)
    told = [[word for final in found.finals for word in final.words] for found in (both, alone)]
    assert [word.text for word in told[0]] == [word for word, _, _ in all_words(TALKS[name])]
    assert told[0] == told[1]


def test_without_partials_segments_are_longer() -> None:
    voices = {"en": talk(0.5, 30)}
    both, alone = heard(voices), heard(voices, interim=False, recorded=True)
    assert 2 <= len(alone.finals) < len(both.finals) / 2
    for final in alone.finals:
        length = MediaTime.from_proto(final.media_end) - MediaTime.from_proto(final.media_start)
        assert length.seconds <= (UNHURRIED.longest + UNHURRIED.again) / RATE


def test_without_partials_less_is_heard() -> None:
    script = talk(0.5, 14)
    items = events(packets(hum(15.5, {"en": script})))
    with_partials, without = MultilingualTranscriber(script), MultilingualTranscriber(script)
    Heard(items, with_partials)
    Heard(items, without, Options(interim=False, recorded=True))
    assert len(without.asked) <= 0.6 * len(with_partials.asked)


def test_only_what_becomes_final_is_heard_carefully() -> None:
    script = talk(0.5, 30)
    model = MultilingualTranscriber(script)
    spoken = Heard(events(packets(hum(31, {"en": script}))), model)
    assert len(spoken.finals) > 3
    assert sum(passage.silence == CAREFUL.silence for passage in model.asked) == len(spoken.finals)


# Terms


def test_terms_reach_the_model() -> None:
    script = talk(0.5, 12)
    model = MultilingualTranscriber(script)
    Heard(events(packets(hum(13.5, {"de": script}))), model, Options(glossary=("Kowalczyk", "mRoPE"), translate=True))
    transcribed = [passage.leading for passage in model.asked if passage.task is Task.TRANSCRIBE]
    assert len(transcribed) > 5
    assert all(prompt.startswith("Kowalczyk, mRoPE.") for prompt in transcribed)
    assert any("WORD0" in prompt for prompt in transcribed), "and so does what was said"


# Statistics


def test_statistics_are_said_at_most_every_ten_seconds_and_at_the_end() -> None:
    found = heard({"en": talk(0.5, 34)})
    ends = [MediaTime.from_proto(stats.media_end) for stats in found.statistics]
    assert len(ends) == 4
    assert all(later - earlier >= EVERY - MediaTime.of(0.3) for earlier, later in pairwise(ends[:-1]))
    assert found.said[-1].HasField("stats")
    assert [event.HasField("stats") for event in found.said[found.before_the_end :]].count(True) == 1
    last = found.statistics[-1]
    assert last.words == sum(len(final.words) for final in found.finals) == len(talk(0.5, 34))
    assert last.words_per_minute == pytest.approx(150, rel=0.1)
    assert 0 < last.stable_latency.mean_s < last.final_latency.mean_s < RULES.longest / RATE + 1
    assert last.flicker == 0


def test_statistics_count_what_was_refused() -> None:
    script = [*talk(0.5, 4), ("hum", 7.0, 7.4)]

    class Inventive(MultilingualTranscriber):
        async def transcribe(self, passage: Passage) -> Hypothesis:
            known = await super().transcribe(passage)
            end = passage.start + MediaTime.of(len(passage.samples) / RATE)
            return replace(known, words=(*known.words, HeardWord("you", end + MediaTime.of(1), end + MediaTime.of(1.2), 0.5)))

    found = Heard(events(packets(hum(6, {"en": script[:-1]}))), Inventive(script[:-1]))
    assert "you" not in " ".join(segment.text for segment in found.segments)
    assert dict(found.statistics[-1].words_refused) == {"outside": len(found.finals)}


def test_without_speech_there_is_only_how_far_it_was_heard() -> None:
    found = Heard(events(packets(np.zeros(SOUND_RATE * 25, np.float32))), MultilingualTranscriber([]))
    assert [event.WhichOneof("event") for event in found.said] == ["stats"] * 3
    assert found.statistics[0].words == 0


def test_statistics_are_said_at_the_end_of_a_stream_that_ends_in_a_gap() -> None:
    script = talk(0.5, 4)
    found = Heard([*events(packets(hum(6, {"en": script}))), gap(6, 20)], MultilingualTranscriber(script))
    assert found.said[-1].HasField("stats")


def test_what_the_last_final_takes_back_was_taken_back() -> None:
    script = spoken((0.5, "we were here then"))

    class Inventive(MultilingualTranscriber):
        async def transcribe(self, passage: Passage) -> Hypothesis:
            known = await super().transcribe(passage)
            if passage.silence == CAREFUL.silence or written(known.words[-1:]) != "then":
                return known
            end = known.words[-1].end
            return replace(known, words=(*known.words, HeardWord("um", end, end + MediaTime.of(0.1), 0.05)))

    found = Heard(events(packets(hum(3, {"en": script}))), Inventive(script))
    assert found.segments[-2].text == "we were here then um"
    assert [final.text for final in found.finals] == ["we were here then"]
    assert found.statistics[-1].flicker > 0


# Where a model hears less than there is


def test_half_a_minute_of_voices_without_a_word_is_borne() -> None:
    chorus, script = talk(0.5, 36), talk(40, 4)
    found = Heard(events(packets(hum(46, {"en": chorus + script}))), MultilingualTranscriber(script))
    assert " ".join(final.text for final in found.finals).split() == [word for word, _, _ in script]


def test_a_final_has_at_least_as_many_words_as_were_promised() -> None:
    script = talk(0.5, 2.4)

    class Deaf(MultilingualTranscriber):
        async def transcribe(self, passage: Passage) -> Hypothesis:
            known = await super().transcribe(passage)
            return known if passage.silence == QUICK.silence else Hypothesis()

    found = Heard(events(packets(hum(4, {"en": script}))), Deaf(script))
    promised = max(segment.stable for segment in found.segments if not segment.is_final)
    assert promised > 1
    assert len(found.finals[-1].words) >= promised


def test_after_the_last_word_silence_is_not_heard() -> None:
    script = spoken((0.5, "we were here and so were they then"))
    sound = [(text, start, end - 0.15) for text, start, end in script]
    model = MultilingualTranscriber(script)
    at_once = Rules(step=RATE // 4, close=RATE * 2, again=RATE // 5, longest=RATE * 7 // 2)
    found = Heard(events(packets(hum(14, {"en": sound}))), model, rules=at_once, trust=Trust(new=((0.0, 0.0),)))
    assert " ".join(final.text for final in found.finals).split() == [word for word, _, _ in script]
    heard_up_to = max(passage.start.seconds + len(passage.samples) / RATE for passage in model.asked)
    assert heard_up_to <= script[-1][2] + 1


def test_a_long_silence_after_speech_holds_little() -> None:
    found = heard({"en": talk(0.5, 4)}, seconds=40)
    span_s = 0.2
    assert max(found.held) <= (4.5 + (RULES.hold + RULES.window) / RATE + 2) / span_s
    assert found.held[-1] <= (RULES.window / RATE + 1) / span_s
