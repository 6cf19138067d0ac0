"""The files that are left of a stream: captions, scenes, and contact sheets of its keyframes."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from watchword.v1 import scene_pb2

from pipeline.timeline import MediaTime
from services import events as json_events
from services.cli.files import write
from services.cli.viewer import Viewer

if TYPE_CHECKING:
    from PIL import Image

COLUMNS, ROWS = 4, 5
"""Pictures on one contact sheet."""
TILE_PX = (224, 126)
"""Width and height of a picture on a sheet."""
LABEL_PX = 18
"""Height of the line under a picture."""
GUTTER_PX = 4
"""Between pictures of one row: two of one colour would look like one."""


def write_words(viewer: Viewer, folder: Path) -> list[Path]:
    """Write `captions.vtt` and `captions.srt`, `captions.en.vtt` and so on for a translation, and `scenes.json`; the paths written."""
    from pipeline import subtitles

    files: dict[str, str] = {}
    for language, finals in subtitles.tracks(viewer.finals).items():
        name, cues = f"captions.{language}".rstrip("."), subtitles.cues(finals)
        files |= {f"{name}.vtt": subtitles.webvtt(cues), f"{name}.srt": subtitles.subrip(cues)}
    files["scenes.json"] = _scenes(viewer)
    for name, text in files.items():
        write(folder / name, text)
    return [folder / name for name in files]


class ContactSheets:
    """Writes keyframes into `keyframes-N.jpg`, a sheet as soon as it is full; sheets of an earlier run go with the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[scene_pb2.Keyframe] = []
        self.paths: list[Path] = []

    def add(self, keyframe: scene_pb2.Keyframe) -> None:
        """Take a keyframe; one without a picture is passed over."""
        if keyframe.jpeg:
            self._waiting.append(keyframe)
        if len(self._waiting) == COLUMNS * ROWS:
            self.finish()

    def finish(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        if not self.paths:
            for stale in self._folder.glob("keyframes-*.jpg"):
                stale.unlink()
        path = self._folder / f"keyframes-{len(self.paths) + 1}.jpg"
        sheet = io.BytesIO()
        _sheet(self._waiting).save(sheet, format="JPEG", quality=88)
        write(path, sheet.getvalue())
        self.paths.append(path)
        self._waiting.clear()


def _scenes(viewer: Viewer) -> str:
    scenes = [json_events.scene(caption) for caption in viewer.scenes]
    return json.dumps({"scenes": scenes}, ensure_ascii=False, indent=2) + "\n"


def _sheet(keyframes: Sequence[scene_pb2.Keyframe]) -> "Image.Image":
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    width, height = TILE_PX
    rows = -(-len(keyframes) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * (height + LABEL_PX)), "#111418")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for number, frame in enumerate(keyframes):
        left, top = number % COLUMNS * width, number // COLUMNS * (height + LABEL_PX)
        picture = ImageOps.contain(Image.open(io.BytesIO(frame.jpeg)), (width - GUTTER_PX, height))
        sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
        label = f"{MediaTime.from_proto(frame.media_time).seconds:.2f} s  {json_events.reason(frame)}  {frame.score:.2f}"
        draw.text((left + 5, top + height + 2), label, fill="#d5dbe3", font=font)
    return sheet
