"""A clip to measure is whole or not there, whatever happened while it was made."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import decoding

pytestmark = pytest.mark.unit

CLIP = decoding.Clip("corridor", width=320, height=240)


def test_a_clip_whose_making_is_broken_off_is_not_left_for_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decoding.pictures

    def broken_off(clip: decoding.Clip, count: int) -> Iterator[NDArray[np.uint8]]:
        yield from islice(whole(clip, count), 5)
        raise KeyboardInterrupt

    monkeypatch.setattr(decoding, "pictures", broken_off)
    with pytest.raises(KeyboardInterrupt):
        decoding.make(CLIP, 1, tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(decoding, "pictures", whole)
    decoding.make(CLIP, 1, tmp_path / "clip.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
