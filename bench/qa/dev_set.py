"""A question set from a folder of media with a manifest.json; the media stay where they are.

python -m bench.qa.dev_set ../shared/media out/dev.jsonl
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTHING = re.compile(r"\(not answerable\)|^there is no\b")
BESIDE = re.compile(r"\([^)]*\)")
HEARD = re.compile(r"\bnarrator\b|\bspeaker\b|\bsaid\b|\btold\b")
READ = re.compile(r"\bsign say|\bby the caption\b|\btitle\b|\bpresents\b|\bcounter show\b|\bcity\b")
ORDER = re.compile(r"\bright after\b|\bin order\b|\bfollow each other\b")


def records(folder: Path, out: Path) -> Iterator[dict[str, Any]]:
    """The lines of the set: each medium that is asked about, then its questions."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for entry in manifest["entries"]:
        asked = entry.get("qa") or []
        if not asked or "duration" not in entry:
            continue
        name = os.path.relpath(folder / entry["file"], out.parent)
        yield {"media": name, "transcript": entry.get("transcript") or ""}
        for each in asked:
            yield _question(name, each)


def _question(name: str, each: dict[str, Any]) -> dict[str, Any]:
    trap = bool(NOTHING.search(each["a"]))
    kind = "trap" if trap else _kind(each)
    times = [each["t"]] if each.get("t") else []
    accepted = [] if trap else accepted_answers(each["a"])
    return {"media": name, "question": each["q"], "kind": kind, "accepted": accepted, "times": times, "part": "dev"}


def _kind(each: dict[str, Any]) -> str:
    if ORDER.search(each["q"]):
        return "order"
    if each.get("from") == "speech" or HEARD.search(each["q"]):
        return "speech"
    return "text" if READ.search(each["q"]) else "picture"


def accepted_answers(answer: str) -> list[str | list[str]]:
    """What an answer must hold: its alternatives by "/" or ", or"; all names of one that joins them by "and"; remarks left out."""
    plain = BESIDE.sub("", answer).strip()
    alternatives: list[str | list[str]] = []
    for part in re.split(r"\s*/\s*", plain):
        joined = [piece.strip() for piece in re.split(r"\band\b|,", part) if piece.strip()]
        if joined and joined[0].casefold() == "no":
            alternatives += ["no", "nothing", "nobody", "not"]
        else:
            alternatives.append(joined[0] if len(joined) == 1 else joined)
    return alternatives


def main(folder: str, out: str) -> None:
    """Write the set."""
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record, ensure_ascii=False) for record in records(Path(folder), path)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path}: {sum('question' in line for line in lines)} questions")


if __name__ == "__main__":
    main(*sys.argv[1:3])
