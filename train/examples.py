"""What a model is to learn from, read from JSONL: a clip and the text that is right of it, or also one that is worse.

A line is `{"text": …}` or `{"chosen": …, "rejected": …}`, with at most one of `"clip"`, a media file whose keyframes are chosen as the
pipeline chooses them (`"start"` and `"end"` in seconds cut it), `"frames"`, a list of `{"image": FILE, "time": SECONDS}`, or `"image"`,
a picture in base64 as `watchword review export` writes it. `"prompt"` is what was asked; without it, what a captioner asks. Paths are
relative to the JSONL. Pictures stay on disk: what is held of a line is its text and where its pictures are.
"""

import asyncio
import base64
import binascii
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.caption.model import SceneView, Shot
from pipeline.caption.selection import choose
from pipeline.caption.style import QUESTION, Style
from pipeline.errors import WatchwordError
from pipeline.media.publish import publish
from pipeline.sample.stage import Sample
from pipeline.timeline import MediaTime

MOST_LINES = 100_000
LONGEST_LINE = 32 * 2**20
LONGEST_TEXT = 4_000
LONGEST_PROMPT = 20_000
MOST_FRAMES = 16
MOST_TOLD = 10
"""Bad lines that are told one by one."""


class BadLines(Exception):
    """Lines that say nothing to learn from; its text names them."""


@dataclass(frozen=True)
class Picture:
    """A keyframe on disk."""

    time: MediaTime
    jpeg: Path


@dataclass(frozen=True)
class Example:
    """Something to learn."""

    right: str
    """What should be said."""
    pictures: tuple[Picture, ...]
    asked: str = QUESTION
    worse: str = ""
    """What should be said less; empty where nothing is known of that."""

    def view(self, style: Style) -> SceneView:
        """The clip as captioners see it; only where there are pictures."""
        shots = [Shot(each.time, KeyframeReason.KEYFRAME_REASON_UNSPECIFIED, 0.0, 0.0, each.jpeg.read_bytes()) for each in self.pictures]
        return SceneView(shots[0].time, shots[-1].time, tuple(shots), style)


@dataclass
class Examples:
    """What was read."""

    good: list[Example] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    """What is wrong with the lines that were left out."""


def read(path: Path, keep: Path, *, pairs: bool = False, skip_bad: bool = False) -> Examples:
    """Read a JSONL; pictures that are not JPEGs on disk already are written under the directory `keep`.

    With `pairs` each line must have `chosen` and `rejected`. Raises `BadLines`, which names the first lines that cannot be used and says
    why, unless `skip_bad`; and where nothing is left.
    """
    found = Examples()
    keep.mkdir(parents=True, exist_ok=True)
    for number, line in _lines(path):
        try:
            found.good.append(_example(line, path.parent, keep / f"{number}", pairs))
        except (ValueError, OSError, WatchwordError) as error:
            found.bad.append(f"{path.name}, line {number}: {error}")
    if found.bad and (not skip_bad or not found.good):
        more = f"\n… and {len(found.bad) - MOST_TOLD} more" if len(found.bad) > MOST_TOLD else ""
        raise BadLines("\n".join(found.bad[:MOST_TOLD]) + more)
    if not found.good:
        raise BadLines(f"{path}: there is no line in it")
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for number in range(1, MOST_LINES + 1):
            line = file.readline(LONGEST_LINE + 1)
            if not line:
                return
            if len(line) > LONGEST_LINE:
                raise BadLines(f"{path}, line {number}: it has more than {LONGEST_LINE:,} bytes")
            if line.strip():
                yield number, line.decode("utf-8", "replace")
        if file.read(1):
            raise BadLines(f"{path}: it has more than {MOST_LINES:,} lines")


def _example(line: str, beside: Path, keep: Path, pairs: bool) -> Example:
    try:
        told = json.loads(line)
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise ValueError("a JSON object is needed")
    right, worse = (_text(told, "chosen"), _text(told, "rejected")) if pairs else (_text(told, "text"), "")
    if pairs and right == worse:
        raise ValueError("chosen and rejected are the same")
    return Example(right, _pictures(told, beside, keep, needed=not pairs), _text(told, "prompt", QUESTION, LONGEST_PROMPT), worse)


def _text(told: Mapping[str, Any], name: str, otherwise: str = "", most: int = LONGEST_TEXT) -> str:
    value = told.get(name, otherwise)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name!r} must be a text that is not empty")
    if len(value) > most:
        raise ValueError(f"{name!r} has {len(value):,} characters; at most {most:,} are possible")
    return value


def _pictures(told: Mapping[str, Any], beside: Path, keep: Path, *, needed: bool) -> tuple[Picture, ...]:
    ways: Mapping[str, Callable[[], tuple[Picture, ...]]] = {
        "clip": lambda: _of_clip(beside / _text(told, "clip"), _seconds(told, "start", 0.0), _seconds(told, "end", None), keep),
        "frames": lambda: _of_frames(told["frames"], beside, keep),
        "image": lambda: (Picture(MediaTime(0), _kept(keep.with_suffix(".jpg"), _decoded(told["image"]))),),
    }
    there = [name for name in ways if told.get(name)]
    if len(there) > 1 or (needed and not there):
        raise ValueError(f"one of {', '.join(ways)} is needed" + (f", not {' and '.join(there)}" if there else ""))
    return ways[there[0]]() if there else ()


def _of_frames(frames: object, beside: Path, keep: Path) -> tuple[Picture, ...]:
    if not isinstance(frames, list) or not all(isinstance(each, dict) for each in frames):
        raise ValueError('\'frames\' must be a list of {"image": FILE, "time": SECONDS}')
    found = []
    for number, each in enumerate(frames):
        file = beside / _text(each, "image")
        time = _seconds(each, "time", None)
        if time is None:
            raise ValueError(f"{file.name}: 'time' is missing")
        found.append(Picture(MediaTime.of(time), _as_jpeg(file, keep.with_name(f"{keep.name}-{number}.jpg"))))
    if len({each.time for each in found}) < len(found):
        raise ValueError("two frames have the same time")
    return tuple(_thinned(sorted(found, key=lambda each: each.time)))


def _thinned(pictures: Sequence[Picture]) -> list[Picture]:
    """At most `MOST_FRAMES`, evenly chosen, with the first and the last."""
    if len(pictures) <= MOST_FRAMES:
        return list(pictures)
    return [pictures[round(index * (len(pictures) - 1) / (MOST_FRAMES - 1))] for index in range(MOST_FRAMES)]


def _seconds(told: Mapping[str, Any], name: str, otherwise: float | None) -> Any:
    value = told.get(name, otherwise)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**6):
        raise ValueError(f"{name!r} must be seconds, 0 or more")
    return value


def _decoded(image: object) -> bytes:
    try:
        return base64.b64decode(str(image).removeprefix("data:image/jpeg;base64,"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("'image' must be a picture in base64; files belong into 'frames'") from None


def _as_jpeg(file: Path, keep: Path) -> Path:
    """The file itself, if it is a JPEG that opens, else a copy that is one."""
    if not file.is_file():
        raise ValueError(f"{file} is no file")
    with file.open("rb") as opened:
        if opened.read(3) != b"\xff\xd8\xff":
            return _kept(keep, file.read_bytes())
    _require_whole(file)
    return file


def _kept(file: Path, data: bytes) -> Path:
    try:
        picture = Image.open(io.BytesIO(data))
        picture.convert("RGB").save(file, "JPEG", quality=95)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"a picture cannot be read: {error}") from None
    return file


def _require_whole(file: Path) -> None:
    try:
        with Image.open(file) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file.name} cannot be read as a picture: {error}") from None


def _of_clip(file: Path, start: float, end: float | None, keep: Path) -> tuple[Picture, ...]:
    """The keyframes of a media file, as the pipeline chooses them."""
    if not file.is_file():
        raise ValueError(f"{file} is no file")
    found = asyncio.run(_keyframes(file))
    until = MediaTime.of(end) if end is not None else None
    within = [each for each in found if each.media_time >= MediaTime.of(start) and (until is None or each.media_time <= until)]
    if not within:
        raise ValueError(f"{file.name}: no keyframe lies between {start:g} s and {'its end' if end is None else f'{end:g} s'}")
    pictures = []
    for number, each in enumerate(choose(within, MOST_FRAMES)):
        path = keep.with_name(f"{keep.name}-{number}.jpg")
        path.write_bytes(each.jpeg)
        pictures.append(Picture(each.media_time, path))
    return tuple(pictures)


@dataclass(frozen=True)
class _Keyframe:
    media_time: MediaTime
    score: float
    jpeg: bytes


class _Into:
    """Takes what a publisher sends, and has a stage look at the pictures at once."""

    def __init__(self) -> None:
        self.stage = Sample("clip")
        self.found: list[_Keyframe] = []

    async def publish(self, topic: str, stream_id: str, value: Any, **_: Any) -> None:
        """Look at a chunk of video."""
        if topic == "video" and value.WhichOneof("event") in ("chunk", "gap"):
            self.take([each async for each in self.stage.process(value)])

    def take(self, told: Sequence[Any]) -> None:
        """Note the keyframes among what the stage told."""
        for each in told:
            if each.WhichOneof("event") == "keyframe":
                self.found.append(_Keyframe(MediaTime.from_proto(each.keyframe.media_time), each.keyframe.score, each.keyframe.jpeg))


async def _keyframes(file: Path) -> list[_Keyframe]:
    into = _Into()
    try:
        await publish(str(file), into, stream_id="clip", speed=None)  # type: ignore[arg-type]
        into.take([each async for each in into.stage.flush()])
    finally:
        into.stage.close()
    return into.found
