"""Sound of any sample format and channel layout to mono, without losing who speaks.

Channels are added up with fixed weights. That fails in two cases, and then the loudest channel is taken instead: channels
that cancel each other out (one of two wires swapped, so that left is minus right), and speech that is only in a channel
with a small weight or none (a recorder that calls its microphones surround sound). Which it is, is decided from what the
channels held in the `WINDOW` before, in blocks on absolute sample numbers, and changes in a straight line over one block:
so the sound is a function of the samples near by, wherever decoding began.
"""

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Planes = NDArray[np.float32]
"""All channels, shape (n, channels), -1 to 1."""

BLOCKS_PER_S = 50
"""Blocks in a second by which channels are compared: 20 ms each."""
WINDOW = 5
"""Blocks before a sample by which it is decided what the mix is: 100 ms."""
RUN_IN = Fraction(WINDOW + 2, BLOCKS_PER_S)
"""Seconds after which the mix depends no more on where it began."""

CANCELLED, CANCELLING = 0.15, 0.3
"""Power of the sum as a share of what unrelated channels would have: below the first the loudest channel is heard alone,
above the second the sum. A voice in both channels has 2, a single channel 1, left = -0.5 right 0.2."""
BURIED, BURYING = 0.005, 0.01
"""The same for the power of the sum as a share of the loudest channel's: -23 and -20 dB, for what is in a channel at the rear
or in none that is mixed."""
FAINTEST = 1e-9
"""Mean square of the loudest channel below which nothing is decided: -90 dBFS, the noise of 16-bit sound."""
_UNREADABLE = 8
"""Planes from which on `AudioFrame.to_ndarray` reads beyond the frame (PyAV 18): such frames are packed first."""
BASS_HZ = 250
"""An effects channel counts only where its sound is higher than this: what it is for ends at 120 Hz."""


class Mixer:
    """Turns decoded frames of one run of sound into mono float32, -1 to 1."""

    def __init__(self) -> None:
        """Nothing is known until the first frame."""
        self.invalid = 0
        """Samples so far, over all channels, that were NaN or infinite and became silence."""
        self._form: tuple[str, str, int] | None = None
        self._packer: Any = None
        self._layout: tuple[str, int] | None = None
        self._next: int | None = None
        self._open: Planes = np.zeros((0, 0), np.float32)
        self._products: list[NDArray[np.float64]] = []
        self._mixes: list[Samples] = []

    def restart(self) -> None:
        """Forget what was mixed so far, as if the next samples were the first."""
        self._next = None

    def planes(self, frame: Any) -> Planes:
        """The frame's samples in all channels, -1 to 1; what is beyond is cut, and what is no number is 0."""
        channels: int = frame.layout.nb_channels
        if frame.format.name == "fltp" and channels < _UNREADABLE:
            planes = frame.to_ndarray().T
        else:
            planes = (frame if frame.format.name == "flt" else self._packed(frame)).to_ndarray().reshape(-1, channels)
        finite = np.isfinite(planes)
        if not finite.all():
            self.invalid += int(finite.size - np.count_nonzero(finite))
            planes = np.where(finite, planes, np.float32(0))
        return np.asarray(np.clip(planes, -1, 1))

    def mono(self, planes: Planes, start: int, layout: str, rate: int) -> Samples:
        """One channel, shape (n,): all of them, weighted so that the sum cannot clip.

        Of surround sound the centre, where films put speech, counts twice as much as ITU-R BS.775 says, the rear half.
        `start` is the absolute number of the first sample at `rate`, in Hz; `layout` is FFmpeg's name of the channels' layout.
        """
        if planes.shape[1] == 1:
            return np.ascontiguousarray(planes[:, 0])
        if (layout, rate) != self._layout or start != self._next:
            self._layout = (layout, rate)
            self._begin(start, planes.shape[1])
        self._next = start + len(planes)
        return self._mix(planes)

    def _packed(self, frame: Any) -> Any:
        """The frame with float samples, channel by channel."""
        import av

        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            self._form = form
            self._packer = av.AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
        frame.pts = None
        (packed,) = self._packer.resample(frame)
        return packed

    def _begin(self, start: int, channels: int) -> None:
        assert self._layout is not None
        name, rate = self._layout
        self._weights = weights(name, channels)
        self._squares = np.square(self._weights, dtype=np.float64)
        self._effects = effects(name, channels)
        self._has_effects = bool(self._effects.any())
        self._block = max(rate // BLOCKS_PER_S, 1)
        # Power of the difference of neighbouring samples, as a share of the power, of a tone of `BASS_HZ`.
        self._bass = (2 * np.sin(np.pi * min(BASS_HZ / rate, 0.5))) ** 2
        # The part of a block at the start of a run is not counted: it would differ where a run starts elsewhere.
        self._open = np.full((start % self._block, channels), np.nan, np.float32)
        self._products = []
        self._mixes = [self._weights, self._weights]

    def _mix(self, planes: Planes) -> Samples:
        before = len(self._open)
        sound = np.concatenate([self._open, planes])
        whole = len(sound) // self._block
        mixes = self._mixes
        for number in range(whole):
            known = bool(self._products)
            self._measure(sound[number * self._block : (number + 1) * self._block])
            mixes.append(self._decide())
            if self._products and not known:
                # Nothing is known of what came before, so the first whole block tells of itself too.
                mixes[:] = [mixes[-1]] * len(mixes)
        self._open = sound[whole * self._block :].copy()
        self._mixes = mixes[-2:]
        if all(mix is self._weights for mix in mixes):
            mixed = planes[:, 0] * self._weights[0]
            for channel in range(1, planes.shape[1]):
                mixed += planes[:, channel] * self._weights[channel]
            return np.asarray(mixed)
        mixed = np.concatenate([self._fade(sound, number, mixes[number], mixes[number + 1]) for number in range(whole + 1)])
        return mixed[before:]

    def _fade(self, sound: Planes, number: int, old: Samples, new: Samples) -> Samples:
        """One block, or the part of it that is there, mixed in the old way first and in the new way last."""
        block = sound[number * self._block : (number + 1) * self._block]
        share = (np.arange(1, len(block) + 1, dtype=np.float32) / np.float32(self._block))[:, None]
        return np.asarray(((old + (new - old) * share) * block).sum(axis=1), np.float32)

    def _measure(self, block: Planes) -> None:
        """Keep the products of the block's channels without their offsets, and of differences of neighbouring samples."""
        if np.isnan(block[0, 0]):
            return
        sound = block.astype(np.float64)
        sound -= np.add.reduce(sound) / len(sound)
        found = np.zeros((sound.shape[1] + 1, sound.shape[1]))
        np.matmul(sound.T, sound, out=found[:-1])
        if self._has_effects:
            found[-1] = np.add.reduce(np.square(sound[1:] - sound[:-1]))
        self._products = [*self._products[-WINDOW + 1 :], found]

    def _decide(self) -> Samples:
        """The weight of each channel after the blocks that are known."""
        if not self._products:
            return self._weights
        sums = sum(self._products[1:], start=self._products[0])
        products, power = sums[:-1], sums.diagonal()
        counted = np.where(self._effects & (sums[-1] < self._bass * power), 0, power) if self._has_effects else power
        loudest = float(counted.max())
        if loudest < FAINTEST * self._block * len(self._products):
            return self._weights
        summed = float(self._weights @ products @ self._weights)
        unrelated = float(self._squares @ power)
        if summed >= CANCELLING * unrelated and summed >= BURYING * loudest:
            return self._weights
        share = max(_share(summed, CANCELLED * unrelated, CANCELLING * unrelated), _share(summed, BURIED * loudest, BURYING * loudest))
        # The first within 3 dB of the loudest, with the polarity of the first within 6 dB: what is equally loud in two of
        # them, but for a codec's noise, must not jump to and fro.
        index, leader = int(np.argmax(counted > loudest / 2)), int(np.argmax(counted > loudest / 4))
        alone = np.zeros_like(self._weights)
        alone[index] = -1 if products[index, leader] < 0 else 1
        return np.asarray((1 - share) * self._weights + share * alone, np.float32)


def _share(value: float, low: float, high: float) -> float:
    """1 up to `low`, 0 from `high` on, and in a straight line between."""
    return min(max((high - value) / (high - low), 0.0), 1.0) if high > low else 0.0


@cache
def weights(layout: str, channels: int) -> Samples:
    """The weight of each channel of FFmpeg's layout in the sum, shape (channels,); together 1.

    Channels that nothing is known of, as of a recorder with many microphones, weigh the same.
    """
    import av

    if layout == f"{channels} channels":
        return np.full(channels, 1 / channels, np.float32)
    impulses = av.AudioFrame.from_ndarray(np.eye(channels, dtype=np.float32).reshape(1, -1), format="flt", layout=layout)
    impulses.sample_rate = 48_000
    # Without the limit FFmpeg mixes float sound to a level beyond 1.
    options = {"rematrix_maxval": "1.0", "center_mix_level": "1.414", "surround_mix_level": "0.354"}
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=48_000, options=options)
    return np.asarray(resampler.resample(impulses)[0].to_ndarray()[0], np.float32)


@cache
def effects(layout: str, channels: int) -> NDArray[np.bool_]:
    """Which channels are for low-frequency effects, shape (channels,)."""
    import av

    if layout == f"{channels} channels":
        return np.zeros(channels, np.bool_)
    return np.array([channel.name.startswith("LFE") for channel in av.AudioLayout(layout).channels])
