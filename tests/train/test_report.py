"""Unit: figures as a table and as bars say what the tallies say."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from train.report import BARS, bars, table
from train.tiny import main

pytestmark = pytest.mark.unit

TRUE_TIMES = {"speed": (98, 100), "word": (3, 4), "caption": (180, 200)}
BY_INDEX = {"speed": (50, 100), "caption": (90, 200)}


def test_a_table_has_a_row_for_each_attribute() -> None:
    lines = table({"times": [TRUE_TIMES], "index": [BY_INDEX]}).splitlines()
    assert lines[0] == "| | times | index |"
    assert "| speed | 0.980 | 0.500 |" in lines
    assert "| word read | 0.750 | – |" in lines
    assert lines[-1] == "| clips | 200 | 200 |"


def test_several_seeds_are_told_with_their_spread() -> None:
    lines = table({"times": [TRUE_TIMES, {"speed": (100, 100), "caption": (200, 200)}]}).splitlines()
    assert "| speed | 0.990 (0.980–1.000) |" in lines
    assert lines[-1] == "| clips | 200 + 200 |"


def test_measured_files_become_a_table_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = {name: dict.fromkeys(BARS, (right, 100)) for name, right in (("one", 90), ("two", 80), ("other", 40))}
    files = {name: tmp_path / f"{name}.json" for name in measured}
    for name, path in files.items():
        path.write_text(json.dumps(measured[name]))
    svg = tmp_path / "bars.svg"
    main(["report", f"true times={files['one']}", f"true times={files['two']}", f"by index={files['other']}", "--svg", str(svg)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| | true times | by index |"
    assert "| speed | 0.850 (0.800–0.900) | 0.400 |" in lines
    texts = [each.text for each in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"true times", "by index", "85", "40"} <= set(texts)
    with pytest.raises(SystemExit):
        main(["report", f"true times={tmp_path / 'nowhere.json'}"])
    assert "nowhere.json" in capsys.readouterr().err


def test_bars_are_as_high_as_the_shares() -> None:
    drawn = ElementTree.fromstring(bars({"times": [TRUE_TIMES], "index": [BY_INDEX]}, ["speed", "caption"], chance={"speed": 0.5}))
    heights = [
        float(each.get("height", "")) for each in drawn.iter("{http://www.w3.org/2000/svg}rect") if each.get("y") and each.get("fill")
    ]
    first, second = heights[:2]
    assert second / first == pytest.approx(0.5 / 0.98, abs=0.01)
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"98", "50", "speed", "whole caption", "times", "index"} <= set(texts)
