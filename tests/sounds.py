"""Sounds without a word in them, made on the spot: what a detector or a model must not take for speech.

    for name, make in NONSPEECH.items():
        samples = make()

Every sound is float32 mono at 16 kHz, shape (n,), within -1 to 1, 6 to 10 s long, and the same each time. Those in
`VOICE_LIKE` are voice-like on purpose, and the hardest.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Wave = NDArray[np.float64]

RATE = 16_000
"""Samples per second."""


def level(samples: Samples | Wave) -> float:
    """Root mean square in dB below full scale, where a constant 1 is 0; -240 for silence."""
    return float(20 * np.log10(max(float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))), 1e-12)))


def at_level(samples: Samples | Wave, dbfs: float) -> Samples:
    """The sound scaled to a root mean square of `dbfs`; it is not limited to -1 to 1."""
    return np.asarray(samples * 10 ** ((dbfs - level(samples)) / 20), np.float32)


def _time(seconds: float) -> Wave:
    return np.arange(round(seconds * RATE)) / RATE


def _random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _finish(wave: Wave, peak: float = 0.5) -> Samples:
    """The wave with its highest absolute value brought to `peak`."""
    return (wave * (peak / max(float(np.abs(wave).max()), 1e-12))).astype(np.float32)


def _shaped(seed: int, count: int, gain: Callable[[Wave], Wave]) -> Wave:
    """White noise of `count` samples whose spectrum is multiplied by `gain`, a function of the frequency in Hz."""
    spectrum = np.fft.rfft(_random(seed).standard_normal(count))
    return np.asarray(np.fft.irfft(spectrum * gain(np.fft.rfftfreq(count, 1 / RATE).astype(np.float64)), count))


def _band(low: float, high: float) -> Callable[[Wave], Wave]:
    """A bell over the frequencies from `low` to `high` Hz."""
    return lambda frequency: np.exp(-(((frequency - (low + high) / 2) / ((high - low) / 2 + 1e-9)) ** 2))


def _add(wave: Wave, part: Wave, at: float) -> None:
    """Add a part to the wave from a time in seconds; what lies behind the end is left out."""
    start = round(at * RATE)
    length = len(wave[start : start + len(part)])
    wave[start : start + length] += part[:length]


def _note(frequency: float, seconds: float, *, decay: float = 3.0, harmonics: int = 6) -> Wave:
    """A plucked string."""
    time = _time(seconds)
    wave = sum(np.sin(2 * np.pi * frequency * n * time) * np.exp(-decay * n**0.5 * time) / n for n in range(1, harmonics + 1))
    return np.asarray(wave * np.minimum(time / 0.005, 1))


def _sung(frequency: float, seconds: float) -> Wave:
    """A bowed or blown tone: a slow attack, vibrato and many harmonics."""
    time = _time(seconds)
    phase = 2 * np.pi * np.cumsum(frequency * (1 + 0.008 * np.sin(2 * np.pi * 5.5 * time))) / RATE
    wave = sum(np.sin(n * phase) / n**1.2 for n in range(1, 11))
    return np.asarray(wave * np.minimum(time / 0.06, 1) * np.minimum((seconds - time) / 0.08, 1))


def chords(seconds: float = 8.0) -> Samples:
    """Four chords on plucked strings, one each second."""
    wave = np.zeros(round(seconds * RATE))
    progression = [(220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (261.6, 329.6, 392.0), (196.0, 246.9, 293.7)]
    for beat in range(int(seconds)):
        for number, note in enumerate(progression[beat % 4]):
            _add(wave, _note(note, 1.6), beat + 0.02 * number)
    return _finish(wave)


def melody(seconds: float = 8.0) -> Samples:
    """A tune on a bowed instrument in the range of a voice."""
    wave = np.zeros(round(seconds * RATE))
    tune = (0, 2, 4, 5, 7, 7, 9, 7, 5, 4, 2, 4, 0, -1, 0, 4)
    for number in range(int(seconds / 0.4)):
        _add(wave, _sung(262 * 2 ** (tune[number % len(tune)] / 12), 0.42), number * 0.4)
    return _finish(wave)


def drums(seconds: float = 8.0) -> Samples:
    """Bass drum, snare and hi-hat at 120 beats a minute."""
    wave = np.zeros(round(seconds * RATE))
    time = _time(0.3)
    kick = np.sin(2 * np.pi * (50 * time + 6 * (1 - np.exp(-30 * time)))) * np.exp(-12 * time)
    snare = (_shaped(1, len(time), _band(300, 6000)) + 0.3 * np.sin(2 * np.pi * 190 * time)) * np.exp(-18 * time)
    hat = _shaped(2, len(time), _band(5000, 8000)) * np.exp(-60 * time)
    for step in range(int(seconds * 4)):
        _add(wave, hat, step / 4)
        if step % 4 == 0:
            _add(wave, 1.5 * kick, step / 4)
        if step % 4 == 2:
            _add(wave, snare, step / 4)
    return _finish(wave)


def band(seconds: float = 8.0) -> Samples:
    """Chords, melody and drums together."""
    return _finish((chords(seconds) + 0.8 * melody(seconds) + 0.8 * drums(seconds)).astype(np.float64))


def chirps(seconds: float = 8.0) -> Samples:
    """A small bird: runs of quick sweeps between 2 and 6 kHz."""
    random, wave, at = _random(3), np.zeros(round(seconds * RATE)), 0.2
    while at < seconds - 0.5:
        for _ in range(int(random.integers(2, 7))):
            time = _time(float(random.uniform(0.05, 0.12)))
            low, high = random.uniform(2000, 3500), random.uniform(4000, 6000)
            sweep = low + (high - low) * (time / time[-1])[:: int(random.choice((1, -1)))]
            _add(wave, np.sin(2 * np.pi * np.cumsum(sweep) / RATE) * np.hanning(len(time)), at)
            at += float(random.uniform(0.1, 0.2))
        at += float(random.uniform(0.3, 0.9))
    return _finish(wave)


def barks(seconds: float = 8.0) -> Samples:
    """A dog: short bursts, noise and a falling rough tone under two formants."""
    random, wave, at = _random(4), np.zeros(round(seconds * RATE)), 0.3
    while at < seconds - 0.4:
        for number in range(int(random.integers(1, 4))):
            time = _time(0.18)
            pitch = 2 * np.pi * np.cumsum(450 - 900 * time + 30 * np.sin(2 * np.pi * 70 * time)) / RATE
            rough = sum(np.sin(n * pitch) * np.exp(-(((450 * n - 1000) / 900) ** 2)) for n in range(1, 8))
            noise = 0.6 * _shaped(40 + number, len(time), _band(600, 2600))
            _add(wave, (rough + noise) * np.minimum(time / 0.01, 1) * np.exp(-14 * time), at)
            at += float(random.uniform(0.25, 0.4))
        at += float(random.uniform(0.5, 1.2))
    return _finish(wave)


def applause(seconds: float = 8.0) -> Samples:
    """A hall that claps: thousands of short claps, which grow and die down."""
    random, wave = _random(5), np.zeros(round(seconds * RATE))
    time = _time(0.03)
    claps = [_shaped(50 + n, len(time), _band(800 + 150 * n, 2000 + 300 * n)) * np.exp(-160 * time) for n in range(8)]
    for _ in range(int(150 * seconds)):
        _add(wave, float(random.uniform(0.2, 1)) * claps[int(random.integers(8))], float(random.uniform(0, seconds)))
    return _finish(wave * np.sin(np.pi * np.linspace(0.08, 0.98, len(wave))) ** 0.7)


def rain(seconds: float = 8.0) -> Samples:
    """Hiss with drops in it."""
    random, count = _random(6), round(seconds * RATE)
    wave = 0.15 * _shaped(7, count, lambda frequency: (frequency / 2000) / (1 + (frequency / 2000) ** 2))
    time = _time(0.01)
    for _ in range(int(60 * seconds)):
        drop = np.sin(2 * np.pi * float(random.uniform(1500, 5000)) * time) * np.exp(-500 * time)
        _add(wave, float(random.exponential(0.3)) * drop, float(random.uniform(0, seconds)))
    return _finish(wave, 0.4)


def white_noise(seconds: float = 8.0) -> Samples:
    """The same power at every frequency."""
    return _finish(_random(8).standard_normal(round(seconds * RATE)), 0.4)


def pink_noise(seconds: float = 8.0) -> Samples:
    """The same power in every octave from 20 Hz."""
    return _finish(_shaped(9, round(seconds * RATE), lambda frequency: 1 / np.sqrt(np.maximum(frequency, 20))), 0.4)


def brown_noise(seconds: float = 8.0) -> Samples:
    """Power that falls by 6 dB an octave from 20 Hz: a waterfall, or wind on a microphone."""
    return _finish(_shaped(10, round(seconds * RATE), lambda frequency: 1 / np.maximum(frequency, 20)), 0.4)


def babble(seconds: float = 8.0) -> Samples:
    """A room full of people far off: many murmurs on top of each other, none to be understood."""
    random, time = _random(11), _time(seconds)
    wave = np.zeros(len(time))
    for _ in range(24):
        pitch = float(random.uniform(90, 250)) * (1 + 0.1 * np.sin(2 * np.pi * random.uniform(0.3, 1) * time + random.uniform(0, 6)))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        formant = float(random.uniform(400, 800)) * (1 + 0.3 * np.sin(2 * np.pi * random.uniform(2, 5) * time + random.uniform(0, 6)))
        voice = sum(np.exp(-(((n * pitch - formant) / 300) ** 2)) * np.sin(n * phase) for n in range(1, 12))
        wave += voice * np.clip(np.sin(2 * np.pi * random.uniform(2, 4) * time + random.uniform(0, 6)), 0, None)
    return _finish(wave, 0.3)


def engine(seconds: float = 8.0) -> Samples:
    """A diesel that changes its speed: a pulse train around 30 Hz through a rumble."""
    time = _time(seconds)
    phase = np.cumsum(30 + 6 * np.sin(2 * np.pi * 0.15 * time)) / RATE
    pulses = np.exp(-8 * (phase % 1)) * (1 + 0.3 * np.sin(2 * np.pi * phase / 4))
    return _finish(pulses - pulses.mean() + 0.1 * _shaped(12, len(time), _band(50, 400)) * (1 + pulses))


def mains_hum(seconds: float = 8.0) -> Samples:
    """50 Hz and its odd harmonics, faint, with hiss."""
    time = _time(seconds)
    wave = sum(np.sin(2 * np.pi * 50 * n * time + n) / n for n in (1, 3, 5, 7, 9))
    return _finish(wave + 0.03 * _random(13).standard_normal(len(time)), 0.05)


def telephone(seconds: float = 8.0) -> Samples:
    """A number dialled with DTMF (ITU-T Q.23), then the North American ringing tone."""
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    wave = np.zeros(round(seconds * RATE))
    for place, digit in enumerate((5, 5, 5, 0, 1, 2, 3)):
        row, column = (3, 1) if digit == 0 else divmod(digit - 1, 3)
        time = _time(0.12)
        _add(wave, np.sin(2 * np.pi * rows[row] * time) + np.sin(2 * np.pi * columns[column] * time), 0.2 + 0.2 * place)
    time = _time(1.5)
    for at in np.arange(2.2, seconds, 3.0):
        _add(wave, np.sin(2 * np.pi * 440 * time) + np.sin(2 * np.pi * 480 * time), float(at))
    return _finish(wave)


def bell(seconds: float = 8.0) -> Samples:
    """An old telephone's bell: two gongs struck twenty times a second, for two seconds of four."""
    wave, time = np.zeros(round(seconds * RATE)), _time(0.15)
    for number in range(int(seconds * 20)):
        if (number / 20) % 4 < 2:
            base = (1200.0, 1420.0)[number % 2]
            gong = sum(np.sin(2 * np.pi * base * ratio * time) / (1 + n) for n, ratio in enumerate((1, 2.1, 3.3)))
            _add(wave, np.asarray(gong * np.exp(-25 * time)), number / 20)
    return _finish(wave)


def siren(seconds: float = 8.0) -> Samples:
    """A tone with harmonics that wails between 500 and 1500 Hz."""
    time = _time(seconds)
    phase = 2 * np.pi * np.cumsum(1000 - 500 * np.cos(2 * np.pi * 0.4 * time)) / RATE
    return _finish(np.sin(phase) + 0.4 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase))


def alarm(seconds: float = 8.0) -> Samples:
    """Beeps of 1 kHz, four and a pause."""
    time = _time(seconds)
    beeping = ((time % 0.25) < 0.12) & ((time % 1.5) < 1.0)
    return _finish(np.sign(np.sin(2 * np.pi * 1000 * time)) * beeping, 0.3)


def laughter(seconds: float = 8.0) -> Samples:
    """Bouts of "ha ha ha": voiced bursts with a breath before each, at five a second, falling in pitch."""
    random, wave, at = _random(14), np.zeros(round(seconds * RATE)), 0.3
    while at < seconds - 1:
        pitch = float(random.uniform(180, 320))
        for number in range(int(random.integers(4, 9))):
            time = _time(0.12)
            phase = 2 * np.pi * np.cumsum(pitch * (1 - 0.04 * number) * (1 - 0.8 * time)) / RATE
            voiced = sum(
                np.sin(n * phase) * (np.exp(-(((pitch * n - 750) / 250) ** 2)) + 0.5 * np.exp(-(((pitch * n - 1250) / 250) ** 2)))
                for n in range(1, 16)
            )
            breath = 0.25 * _shaped(60 + number, round(0.06 * RATE), _band(800, 4000)) * np.hanning(round(0.06 * RATE))
            _add(wave, breath, at)
            _add(wave, voiced * np.hanning(len(time)) * 0.9**number, at + 0.05)
            at += 0.2
        at += float(random.uniform(0.5, 1.0))
    return _finish(wave)


def _vowel(pitch: Wave, formants: tuple[tuple[float, float], ...]) -> Wave:
    """A voice that holds one vowel: harmonics of `pitch` (Hz, one for each sample) under formants of (Hz, weight)."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    wave = np.zeros(len(pitch))
    for n in range(1, 30):
        frequency = n * pitch
        weight = sum(share * np.exp(-(((frequency - centre) / 180) ** 2)) for centre, share in formants)
        wave += np.where(frequency < 7500, weight + 0.02 / n, 0) * np.sin(n * phase)
    return wave


def choir(seconds: float = 8.0) -> Samples:
    """Three voices that hold "ah" through four chords."""
    random, wave = _random(20), np.zeros(round(seconds * RATE))
    for number in range(int(seconds / 2)):
        root = (146.8, 130.8, 164.8, 146.8)[number % 4]
        for ratio in (1, 1.26, 1.5):
            time = _time(2.0)
            pitch = root * ratio * (1 + 0.01 * np.sin(2 * np.pi * float(random.uniform(4.5, 6)) * time))
            edges = np.minimum(1, np.minimum(time / 0.2, (2 - time) / 0.2))
            _add(wave, _vowel(pitch, ((700, 1), (1150, 0.5), (2600, 0.1))) * edges, 2 * number)
    return _finish(wave)


def humming(seconds: float = 8.0) -> Samples:
    """One voice that hums a slow tune with its mouth closed."""
    wave = np.zeros(round(seconds * RATE))
    for number in range(int(seconds / 0.8)):
        time = _time(0.75)
        pitch = 196 * 2 ** ((0, 2, 4, 2, 0, -3, 0, 4, 5, 2)[number % 10] / 12) * (1 + 0.006 * np.sin(2 * np.pi * 5 * time))
        _add(wave, _vowel(pitch, ((250, 1), (1000, 0.05))) * np.sin(np.pi * time / 0.75) ** 0.5, 0.8 * number)
    return _finish(wave)


def crying(seconds: float = 8.0) -> Samples:
    """A baby: cries of a second that rise to 500 Hz and fall, with a sharp breath between them."""
    wave = np.zeros(round(seconds * RATE))
    for number in range(int(seconds / 1.5)):
        time = _time(1.0)
        pitch = 380 + 140 * np.sin(np.pi * time) + 8 * np.sin(2 * np.pi * 6 * time)
        _add(wave, _vowel(pitch, ((1050, 1), (1700, 0.6), (3300, 0.3))) * np.sin(np.pi * time) ** 0.6, 1.5 * number + 0.3)
        breath = 0.4 * _shaped(90 + number, round(0.15 * RATE), _band(1500, 4000)) * np.hanning(round(0.15 * RATE))
        _add(wave, breath, 1.5 * number + 1.4)
    return _finish(wave)


def coughs(seconds: float = 8.0) -> Samples:
    """Somebody coughs, twice each time: a burst, and a rough voiced tail."""
    wave = np.zeros(round(seconds * RATE))
    for number in range(int(seconds / 2)):
        for second in (0.0, 0.4):
            time = _time(0.3)
            burst = _shaped(100 + number, len(time), _band(400, 3000)) * np.exp(-25 * time)
            tail = 0.4 * _vowel(140 - 120 * time, ((600, 1), (1400, 0.5))) * np.exp(-12 * time) * np.minimum(time / 0.05, 1)
            _add(wave, burst + tail, 2 * number + 0.3 + second)
    return _finish(wave)


def footsteps(seconds: float = 8.0) -> Samples:
    """Somebody walks: a dull thump and a scrape, twice a second."""
    wave, time = np.zeros(round(seconds * RATE)), _time(0.15)
    for number in range(int(seconds * 2)):
        thump = np.sin(2 * np.pi * 80 * time) * np.exp(-40 * time)
        scrape = 0.3 * _shaped(80 + number, len(time), _band(1500, 5000)) * np.exp(-30 * time)
        _add(wave, thump + scrape, 0.1 + number / 2)
    return _finish(wave)


def typing(seconds: float = 8.0) -> Samples:
    """A keyboard: uneven short clicks."""
    random, wave, at, time = _random(15), np.zeros(round(seconds * RATE)), 0.2, _time(0.02)
    while at < seconds - 0.1:
        click = _shaped(int(random.integers(1000)), len(time), _band(2000, 7000)) * np.exp(-250 * time)
        _add(wave, float(random.uniform(0.4, 1)) * click, at)
        at += float(random.uniform(0.07, 0.3))
    return _finish(wave)


def clicks(seconds: float = 8.0) -> Samples:
    """Single samples at nearly full scale: a bad connection."""
    return _finish((_random(16).random(round(seconds * RATE)) > 0.9997).astype(np.float64), 0.9)


def static(seconds: float = 8.0) -> Samples:
    """A radio between stations: noise in bursts of a tenth of a second up to a second."""
    random, wave, at = _random(17), np.zeros(round(seconds * RATE)), 0.0
    while at < seconds - 0.1:
        length = float(random.uniform(0.1, 1.0))
        _add(wave, float(random.uniform(0.1, 1)) * _shaped(int(random.integers(1000)), round(length * RATE), _band(300, 3400)), at)
        at += length + float(random.uniform(0, 0.4))
    return _finish(wave, 0.4)


def faint_hiss(seconds: float = 10.0) -> Samples:
    """Silence as a good recorder has it: white noise at -75 dBFS."""
    return at_level(_random(18).standard_normal(round(seconds * RATE)), -75)


def room_tone(seconds: float = 10.0) -> Samples:
    """An empty room: noise that falls with frequency, and a ventilation's hum, at -60 dBFS."""
    count = round(seconds * RATE)
    noise = _shaped(19, count, lambda frequency: 1 / np.maximum(frequency, 40))
    return at_level(noise / noise.std() + 0.2 * np.sin(2 * np.pi * 100 * _time(seconds)), -60)


def silence(seconds: float = 8.0) -> Samples:
    """Zeros."""
    return np.zeros(round(seconds * RATE), np.float32)


NONSPEECH: dict[str, Callable[[], Samples]] = {
    make.__name__: make
    for make in (
        chords,
        melody,
        drums,
        band,
        chirps,
        barks,
        applause,
        rain,
        white_noise,
        pink_noise,
        brown_noise,
        babble,
        engine,
        mains_hum,
        telephone,
        bell,
        siren,
        alarm,
        laughter,
        choir,
        humming,
        crying,
        coughs,
        footsteps,
        typing,
        clicks,
        static,
        faint_hiss,
        room_tone,
        silence,
    )
}
"""Every sound by its name."""

VOICE_LIKE = frozenset({"babble", "laughter", "choir", "humming", "crying", "coughs", "melody", "band", "barks"})
"""Those with the harmonics and the rhythm of a voice: a detector of speech may well be taken in by them, a model must not be."""
