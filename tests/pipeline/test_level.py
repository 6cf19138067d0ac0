"""Conditioning of sound: offsets go, quiet speech is raised, silence stays silence, and every restart hears the same."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pipeline.transcribe.audio import Samples
from pipeline.transcribe.level import CEILING, MOST, QUIETEST, RUN_IN, TARGET, Conditioner, frame_levels, gain, is_silent, raised
from pipeline.transcribe.segmentation import FRAME, RATE
from pipeline.transcribe.vad import SpeechDetector, load_detector
from tests import sounds, synthetic
from tests.pipeline.test_decode import heard
from tests.sounds import at_level

pytestmark = pytest.mark.unit

MEDIA = Path(__file__).parents[3] / "shared" / "media"
DEMO = Path(__file__).parents[2] / "samples" / "demo.mp4"
WINDOW = RATE * 6 // 5
"""What a detector is shown to tell whether somebody speaks."""


def murmur(seconds: float = 4.0) -> Samples:
    """Something like speech."""
    return synthetic.samples(synthetic.Spec(seconds=seconds, sound="speech", sample_rate=RATE))


def pushed(conditioner: Conditioner, sound: Samples, start: int, length: int) -> Samples:
    """The sound in pushes of one length."""
    return np.concatenate([conditioner.push(start + at, sound[at : at + length]) for at in range(0, len(sound), length)])


# Offset


@pytest.mark.parametrize("offset", [-0.5, -0.01, 0.2, 0.5])
def test_an_offset_goes_and_the_sound_stays(offset: float) -> None:
    sound = murmur()
    clean = Conditioner().push(0, sound + np.float32(offset))
    assert abs(clean[RUN_IN:].mean()) < 1e-4
    error = clean - sound
    assert sounds.level(error[RUN_IN:]) < sounds.level(sound) - 25
    assert clean.dtype == np.float32


def test_an_offset_makes_no_click_where_sound_begins() -> None:
    clean = Conditioner().push(123, np.full(RATE, 0.5, np.float32))
    assert np.abs(clean).max() < 1e-6


def test_an_offset_that_changes_is_followed_within_a_tenth_of_a_second() -> None:
    steps = np.repeat(np.array([0.0, 0.4], np.float32), RATE)
    clean = Conditioner().push(0, steps)
    assert np.abs(clean[RATE + RUN_IN :]).max() < 1e-6


@pytest.mark.parametrize("frequency", [85, 120, 300, 3000])
def test_voices_pass_unchanged(frequency: int) -> None:
    tone = (0.3 * np.sin(2 * np.pi * frequency * np.arange(2 * RATE) / RATE)).astype(np.float32)
    clean = Conditioner().push(0, tone)
    assert abs(sounds.level(clean[RUN_IN:]) - sounds.level(tone)) < 0.5


@pytest.mark.parametrize("length", [1, 7, 159, 160, 161, 800, 4000, 64_000])
def test_the_result_does_not_depend_on_how_sound_is_cut(length: int) -> None:
    sound = (murmur(0.5 if length == 1 else 4) + np.float32(0.3)).astype(np.float32)
    whole = Conditioner().push(37, sound)
    assert np.array_equal(pushed(Conditioner(), sound, 37, length), whole)


def test_after_the_run_in_the_result_does_not_depend_on_where_it_began() -> None:
    sound = (murmur() + np.float32(0.3)).astype(np.float32)
    whole = Conditioner().push(0, sound)
    for start in (1, 159, 160, 161, 5000, 20_001):
        late = pushed(Conditioner(), sound[start:], start, 777)
        assert np.array_equal(late[RUN_IN:], whole[start + RUN_IN :]), start


def test_sound_after_a_hole_begins_anew() -> None:
    conditioner, sound = Conditioner(), murmur(1)
    conditioner.push(0, np.full(RATE, 0.5, np.float32))
    after = conditioner.push(3 * RATE, sound)
    assert np.array_equal(after, Conditioner().push(3 * RATE, sound))
    conditioner.push(4 * RATE, np.full(RATE, 0.5, np.float32))
    conditioner.reset()
    assert np.array_equal(conditioner.push(5 * RATE, sound), Conditioner().push(5 * RATE, sound))


def test_nothing_comes_of_nothing() -> None:
    conditioner = Conditioner()
    assert len(conditioner.push(0, np.zeros(0, np.float32))) == 0
    assert len(conditioner.push(0, murmur(1))) == RATE
    assert len(conditioner.push(RATE, np.zeros(0, np.float32))) == 0
    assert not conditioner.push(RATE, np.zeros(RATE, np.float32))[RUN_IN:].any()


# Level


def test_silence_is_told_from_the_faintest_speech() -> None:
    assert is_silent(np.zeros(0, np.float32))
    assert is_silent(np.zeros(WINDOW, np.float32))
    assert is_silent(sounds.faint_hiss())
    assert is_silent(at_level(murmur(), QUIETEST - 15))
    assert not is_silent(at_level(murmur(), QUIETEST))
    lone = np.zeros(WINDOW, np.float32)
    lone[-4000:] = at_level(murmur(1)[2000:6000], -66)
    assert not is_silent(lone)


@pytest.mark.parametrize("dbfs", [-62, -56, -45, -36])
def test_quiet_sound_is_raised_towards_the_target(dbfs: int) -> None:
    up = raised(at_level(murmur(), dbfs))
    loud = 20 * np.log10(np.quantile(frame_levels(up), 0.9))
    assert TARGET - 4 < loud < TARGET + 4 or 20 * np.log10(frame_levels(up).max()) > CEILING - 4
    assert frame_levels(up).max() < 10 ** ((CEILING + 3.1) / 20)


def test_a_gain_is_a_power_of_two_from_1_to_64() -> None:
    sound = murmur()
    gains = {gain(at_level(sound, dbfs)) for dbfs in range(-80, 0, 2)}
    assert gains == {1.0, 2.0, 4.0, 8.0, 16.0, 32.0, MOST}


def test_what_is_loud_or_silent_stays_as_it_is() -> None:
    for sound in (at_level(murmur(), -20), np.ones(WINDOW, np.float32), sounds.faint_hiss(), np.zeros(100, np.float32)):
        assert raised(sound) is sound


def test_a_knock_in_a_quiet_room_is_not_raised() -> None:
    room = sounds.room_tone()[:WINDOW].copy()
    room[9000:9320] += at_level(sounds.white_noise()[:320], -20)
    assert gain(room) <= 2


# With the packaged detector


@pytest.fixture(scope="module")
def vad() -> SpeechDetector:
    return load_detector()


def speaks(probabilities: list[float]) -> bool:
    """Whether there is a quarter of a second of speech, from 0.5 on and down to 0.35."""
    run = longest = 0
    for probability in probabilities:
        run = run + 1 if probability >= (0.35 if run else 0.5) else 0
        longest = max(longest, run)
    return longest * FRAME >= RATE // 4


def opened(vad: SpeechDetector, sound: Samples, *, conditioned: bool = True) -> float:
    """In how many of the windows of 1.2 s, one every half second, the detector finds speech; 0 to 1."""
    if conditioned:
        sound = Conditioner().push(0, sound)
    windows = [sound[end - WINDOW : end] for end in range(WINDOW, len(sound) + 1, RATE // 2)]

    async def each() -> list[bool]:
        found = []
        for window in windows:
            shown = raised(window) if conditioned else window
            probabilities, _ = await vad.probabilities(shown[: WINDOW // FRAME * FRAME], None)
            found.append(speaks(probabilities))
        return found

    return float(np.mean(asyncio.run(each())))


@pytest.fixture(scope="module")
def talk() -> Samples:
    """Ten seconds of people who talk."""
    return heard(synthetic.chunks(DEMO, "audio")[:60])[0].samples[5 * RATE : 13 * RATE]


@pytest.mark.parametrize("dbfs", [-45, -56, -62])
def test_quiet_speech_is_found_as_loud_speech_is(vad: SpeechDetector, talk: Samples, dbfs: int) -> None:
    assert opened(vad, at_level(talk, dbfs)) >= opened(vad, at_level(talk, -20)) - 0.1


@pytest.mark.parametrize("offset", [-0.5, 0.1, 0.5])
def test_speech_on_an_offset_is_found(vad: SpeechDetector, talk: Samples, offset: float) -> None:
    plain = at_level(talk, -30)
    assert opened(vad, plain + np.float32(offset)) >= opened(vad, plain) - 0.1


@pytest.mark.parametrize("dbfs", [None, -60], ids=str)
@pytest.mark.parametrize("name", sorted(set(sounds.NONSPEECH) - sounds.VOICE_LIKE - {"silence"}))
def test_what_is_no_speech_is_not_raised_into_it(vad: SpeechDetector, name: str, dbfs: float | None) -> None:
    sound = sounds.NONSPEECH[name]()
    assert opened(vad, sound if dbfs is None else at_level(sound, dbfs)) == 0


def test_recorded_quiet_speech_is_found(vad: SpeechDetector) -> None:
    path = MEDIA / "edge" / "quiet_minus56dbfs.flac"
    if not path.is_file():
        pytest.skip("needs the shared test media (edge/quiet_minus56dbfs.flac)")
    sound = heard(synthetic.chunks(path, "audio"))[0].samples
    assert opened(vad, sound) >= 0.8
