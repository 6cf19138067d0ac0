"""Questions about 25 kinds of things, asked of every recording of a folder whether it shows them or not: what is seen, what is made up.

    python -m bench.qa.things ../shared/media out/things.jsonl
    watchword eval out/things.jsonl

What each recording shows was written down by looking at it; most of the questions are traps.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.caption.things import THINGS, counted

ASKED = (
    *("person", "dog", "cat", "bird", "horse", "cow", "car", "truck", "bus", "bicycle", "motorcycle", "boat", "train"),
    *("chair", "couch", "dining table", "cup", "bottle", "book", "laptop", "sports ball", "apple", "orange", "clock", "umbrella"),
)
"""The detector's labels."""
SHOWN = {
    "composite/demo.mp4": ("person", "dog", "cup", "bottle", "sports ball", "dining table"),
    "video/sam2_01_dog_360p.mp4": ("person", "dog"),
    "video/sam2_04_coffee_360p.mp4": ("cup", "person", "dining table"),
    "video/sam2_05_juggle_360p.mp4": ("person", "sports ball"),
    "video/intel_bottle.mp4": ("bottle",),
    "video/intel_fruit_vegetable.mp4": ("apple", "orange"),
    "video/intel_person_bicycle_car.mp4": ("person", "car", "bicycle"),
    "video/intel_classroom.mp4": ("person", "chair", "dining table", "cup"),
    "video/gcp_googlework_short.mp4": (
        *("person", "car", "bus", "bicycle", "cow", "cup", "chair", "laptop", "book", "couch", "motorcycle"),
    ),
    "video/mdn_flower.webm": (),
    "video/moviepy_bbb_0_30.webm": ("bird",),
    "video/nasa_13013.mp4": ("person",),
    "video/psd_counter.mp4": (),
    "video/psd_fades.mp4": (),
}


def records(folder: Path, out: Path) -> Iterator[dict[str, Any]]:
    """The lines of the set."""
    for file, shown in SHOWN.items():
        media = os.path.relpath(folder / file, out.parent)
        yield {"media": media}
        for label in ASKED:
            one, many = counted(label, 1), THINGS[label].many
            answer = {"kind": "picture", "accepted": [THINGS[label].one, many]} if label in shown else {"kind": "trap", "accepted": []}
            for question in (f"Is there {one}?", f"How many {many} are there?", f"When does {one} appear?"):
                yield {"media": media, "question": question, "part": "dev", **answer}


def main(folder: str, out: str) -> None:
    """Write the set."""
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record) for record in records(Path(folder), path)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path}: {sum('question' in line for line in lines)} questions")


if __name__ == "__main__":
    main(*sys.argv[1:3])
