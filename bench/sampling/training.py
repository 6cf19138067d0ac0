"""Looks of clips that rules are fitted to: what `synthetic` draws, and shots of real video and photographs mixed with each other.

Nothing is encoded: the looks, ten a second, are drawn or mixed as they are. Real shots are cut out of videos whose cuts are known;
over photographs a camera moves. A mixture of small pictures is the small picture of a mixture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.sampling import synthetic
from bench.sampling.truth import Clip, Span
from pipeline.media.decoders.cpu import Scaler
from pipeline.sample.looks import PERIOD

KINDS = ("dissolves", "fades", "pans", "zooms", "flashes", "dark", "interviews", "flicker")
_LOOKS = 200
_WIDTH, _HEIGHT = 64, 36

Pair = tuple[NDArray[Any], NDArray[Any]]
"""Luma, shape (36, 64), and Cb and Cr, shape (2, 18, 32), 0 to 255."""


@dataclass(frozen=True)
class Watched:
    """A clip as the rules see it."""

    name: str
    looks: tuple[tuple[int, Pair, bool], ...]
    """Nanoseconds, the picture, and whether a shot begins with it at once."""
    gradual: tuple[Span, ...]


def drawn(seed: int, kinds: Sequence[str] = KINDS) -> Iterator[Watched]:
    """Five clips of each kind, as `synthetic.make` draws them."""
    for kind in kinds:
        for number in range(synthetic.CLIPS_A_SET):
            yield _drawn(seed, kind, number)


def _drawn(seed: int, kind: str, number: int) -> Watched:
    sketch = synthetic.Sketch.of(seed, kind, number)
    cuts = {round(at * sketch.rate) for at in sketch.cuts}
    wanted, slot = [], -1
    for frame in range(int(sketch.plan.seconds * sketch.rate)):
        before, slot = slot, int(frame * 10**9 / sketch.rate) // PERIOD.nanos
        if slot != before or frame in cuts:
            wanted.append(frame)
    scaler, looks = Scaler(), []
    for frame, picture in zip(wanted, sketch.frames(wanted), strict=True):
        small = scaler.small(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p"), _WIDTH, _HEIGHT)
        looks.append((int(frame * 10**9 / sketch.rate), (small.luma.copy(), small.chroma.copy()), frame in cuts))
    return Watched(f"{seed}-{kind}-{number}", tuple(looks), sketch.gradual)


def shots(clip: Clip) -> Iterator[list[Pair]]:
    """What a video shows between its cuts and dissolves, ten looks a second; shots of less than two seconds are left out."""
    borders = sorted([*(clip.cuts or ()), *(at for span in clip.gradual for at in (span.start, span.end))])
    scaler, taken, slot, last = Scaler(), [], -1, 0
    with av.open(str(clip.path)) as container:
        for frame in container.decode(video=0):
            number = sum(frame.time >= border - 1e-3 for border in borders)
            if number != last:
                yield from _long(taken)
                taken, last = [], number
            before, slot = slot, round(frame.time * 10**9) // PERIOD.nanos
            if slot != before:
                small = scaler.small(frame, _WIDTH, _HEIGHT)
                taken.append((small.luma.astype(np.float32), small.chroma.astype(np.float32)))
    yield from _long(taken)


def _long(taken: list[Pair]) -> Iterator[list[Pair]]:
    if len(taken) >= 22:
        yield taken[1:-1]


def photograph(path: Path) -> Image.Image:
    """A picture for `moving`."""
    return Image.open(path).convert("RGB")


def moving(photo: Image.Image, count: int, rng: np.random.Generator) -> list[Pair]:
    """Looks at a photograph by a camera that rests, pans, zooms, or does both."""
    wide, high = min(photo.width, photo.height * 16 / 9), min(photo.height, photo.width * 9 / 16)
    pans, zooms = rng.random() < 0.55, rng.random() < 0.5
    sizes = np.geomspace(*rng.uniform(0.45, 1, 2), count) if zooms else np.full(count, rng.uniform(0.4, 0.8))
    begin = rng.uniform(0, 1, 2)
    places = np.linspace(begin, rng.uniform(0, 1, 2) if pans else begin, count)
    return [_seen(photo, wide * size, high * size, place) for size, place in zip(sizes, places, strict=True)]


def _seen(photo: Image.Image, width: float, height: float, place: NDArray[np.float64]) -> Pair:
    left, top = (photo.width - width) * place[0], (photo.height - height) * place[1]
    small = photo.resize((_WIDTH, _HEIGHT), Image.Resampling.BOX, box=(left, top, left + width, top + height))
    pixels = np.asarray(small.convert("YCbCr"), np.float32)
    return pixels[..., 0], pixels[..., 1:].reshape(_HEIGHT // 2, 2, _WIDTH // 2, 2, 2).mean((1, 3)).transpose(2, 0, 1)


def composed(seed: int, videos: Sequence[list[Pair]], photos: Sequence[Image.Image]) -> Watched:
    """Some 20 s of real shots that dissolve into each other in 0.4 to 2 s, one in seven with a cut instead."""
    rng = np.random.default_rng([77, seed])
    looks: list[Pair] = []
    cuts, spans = set(), []
    left: list[Pair] = []
    source = -1
    while len(looks) < _LOOKS:
        mix = int(rng.integers(4, 21)) if left and rng.random() < 0.85 else 0
        count = mix + int(rng.integers(15, 40))
        source, take = _take(count + 20, videos, photos, rng, but=source)
        if mix:
            spans.append(Span(len(looks) / 10, (len(looks) + mix) / 10))
            looks += _mixed(left[:mix], take[:mix], smooth=rng.random() < 0.2)
        elif looks:
            cuts.add(len(looks))
        looks += take[mix:count]
        left = take[count:]
    grain = rng.normal(0, rng.choice([0, 0.5, 1.5]), (5, _HEIGHT, _WIDTH))
    return _watched(f"composed-{seed}", [(luma + grain[at % 5], chroma) for at, (luma, chroma) in enumerate(looks)], cuts, spans)


def _take(
    count: int, videos: Sequence[list[Pair]], photos: Sequence[Image.Image], rng: np.random.Generator, *, but: int
) -> tuple[int, list[Pair]]:
    """So many looks of a video that is long enough, backwards or mirrored at times, or of a photograph; which, and not that one again."""
    long = [number for number, video in enumerate(videos) if len(video) >= count and number != but]
    if not long or rng.random() < 0.45:
        others = [number for number in range(len(photos)) if len(videos) + number != but]
        number = others[int(rng.integers(len(others)))]
        return len(videos) + number, moving(photos[number], count, rng)
    number = long[int(rng.integers(len(long)))]
    begin = int(rng.integers(len(videos[number]) - count + 1))
    taken = videos[number][begin : begin + count]
    if rng.random() < 0.5:
        taken = taken[::-1]
    return number, [(luma[:, ::-1], chroma[:, :, ::-1]) for luma, chroma in taken] if rng.random() < 0.5 else taken


def _mixed(before: Sequence[Pair], after: Sequence[Pair], *, smooth: bool) -> list[Pair]:
    shares = (np.arange(len(before)) + 0.5) / len(before)
    if smooth:
        shares = shares * shares * (3 - 2 * shares)
    pairs = zip(shares.tolist(), before, after, strict=True)
    return [((1 - share) * a[0] + share * b[0], (1 - share) * a[1] + share * b[1]) for share, a, b in pairs]


def plain(name: str, looks: Sequence[Pair]) -> Watched:
    """A shot as it is."""
    return _watched(name, looks, set(), [])


def _watched(name: str, looks: Sequence[Pair], cuts: set[int], spans: Sequence[Span]) -> Watched:
    whole = [(_bytes(luma), _bytes(chroma)) for luma, chroma in looks]
    return Watched(name, tuple((at * PERIOD.nanos, pair, at in cuts) for at, pair in enumerate(whole)), tuple(spans))


def _bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
