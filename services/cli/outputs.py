"""The files that are left of a stream: captions, scenes, and contact sheets of its keyframes."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from watchword.v1 import scene_pb2

from pipeline.timeline import MediaTime
from services.cli import events as json_events
from services.cli.viewer import Viewer

if TYPE_CHECKING:
    from PIL import Image

COLUMNS, ROWS = 4, 5
"""Pictures on one contact sheet."""
TILE_PX = (224, 126)
"""Width and height of a picture on a sheet."""
LABEL_PX = 18
"""Height of the line under a picture."""


def write_outputs(viewer: Viewer, folder: Path) -> list[Path]:
    """Write `captions.vtt`, `captions.srt`, `scenes.json` and `keyframes-N.jpg` into the folder; the paths written."""
    from pipeline import subtitles

    folder.mkdir(parents=True, exist_ok=True)
    cues = subtitles.cues(viewer.finals)
    files = {
        "captions.vtt": subtitles.webvtt(cues),
        "captions.srt": subtitles.subrip(cues),
        "scenes.json": _scenes(viewer),
    }
    written = []
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    for stale in folder.glob("keyframes-*.jpg"):
        stale.unlink()
    return written + _contact_sheets(viewer.keyframes, folder)


def _scenes(viewer: Viewer) -> str:
    scenes = [json_events.scene(caption) for caption in viewer.scenes]
    return json.dumps({"scenes": scenes}, ensure_ascii=False, indent=2) + "\n"


def _contact_sheets(keyframes: Sequence[scene_pb2.Keyframe], folder: Path) -> list[Path]:
    shown = [frame for frame in keyframes if frame.jpeg]
    paths = []
    for number, start in enumerate(range(0, len(shown), COLUMNS * ROWS), start=1):
        path = folder / f"keyframes-{number}.jpg"
        _sheet(shown[start : start + COLUMNS * ROWS]).save(path, quality=88)
        paths.append(path)
    return paths


def _sheet(keyframes: Sequence[scene_pb2.Keyframe]) -> "Image.Image":
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    width, height = TILE_PX
    rows = -(-len(keyframes) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * (height + LABEL_PX)), "#111418")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for number, frame in enumerate(keyframes):
        left, top = number % COLUMNS * width, number // COLUMNS * (height + LABEL_PX)
        picture = ImageOps.contain(Image.open(io.BytesIO(frame.jpeg)), TILE_PX)
        sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
        label = f"{MediaTime.from_proto(frame.media_time).seconds:.2f} s  {json_events.reason(frame)}  {frame.score:.2f}"
        draw.text((left + 5, top + height + 2), label, fill="#d5dbe3", font=font)
    return sheet
