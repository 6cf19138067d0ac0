"""Position ids of a prompt with pictures follow the clock, and are those that were published where the clock is even."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.caption.positions import (
    Frame,
    Piece,
    Text,
    Video,
    clock_times,
    in_order,
    place,
    position_ids,
    qwen3_time,
)
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit

RATE = 2
"""Temporal ids a second, as in the published checkpoints."""


def _times(*seconds: float) -> list[MediaTime]:
    return [MediaTime.of(each) for each in seconds]


def temporal_ids(times: Sequence[MediaTime], rate: float) -> list[int]:
    """The temporal ids of frames of one token each."""
    ids: list[int] = position_ids(before=0, times=times, rows=1, columns=1, after=0, tokens_per_second=rate)[1, 0].tolist()
    return ids


def _video(*seconds: float, rows: int = 2, columns: int = 3) -> Video:
    return Video(tuple(Frame(time, rows, columns) for time in _times(*seconds)))


@pytest.mark.parametrize(
    ("interval", "ids"),
    [(0.25, [0, 0, 1, 1]), (0.5, [0, 1, 2, 3]), (1, [0, 2, 4, 6]), (1.5, [0, 3, 6, 9]), (4, [0, 8, 16, 24])],
)
def test_even_times_give_the_published_ids(interval: float, ids: list[int]) -> None:
    assert temporal_ids(_times(*(7 + index * interval for index in range(4))), 2) == ids


def test_uneven_times_follow_the_clock() -> None:
    assert temporal_ids(_times(10, 10.4, 13.5, 25), 2) == [0, 0, 7, 30]


def test_times_are_exact_where_floats_are_not() -> None:
    tenths = [MediaTime(index * 100_000_000) for index in range(8)]
    assert temporal_ids(tenths, 10) == list(range(8))


def test_the_whole_prompt() -> None:
    ids = position_ids(before=3, times=_times(5, 6.5), rows=1, columns=2, after=2, tokens_per_second=2)
    assert ids.shape == (4, 1, 9)
    assert ids[:, 0].tolist() == [
        [0, 1, 2, 3, 4, 5, 6, 7, 8],
        [0, 1, 2, 3, 3, 6, 6, 7, 8],
        [0, 1, 2, 3, 3, 3, 3, 7, 8],
        [0, 1, 2, 3, 4, 3, 4, 7, 8],
    ]


def test_text_starts_after_the_largest_id_also_of_a_wide_picture() -> None:
    ids = position_ids(before=1, times=_times(0), rows=2, columns=9, after=1, tokens_per_second=2)
    assert ids[1:, 0, -1].tolist() == [10, 10, 10]
    assert np.unique(ids[1, 0, 1:-1]).tolist() == [1]


# What must hold for any times and any mixture.

PROMPTS: list[list[Piece]] = [
    [Text(3), _video(0, 0.4, 3, 11), Text(5)],
    [_video(2, 3, rows=4, columns=7), _video(8), Text(1), _video(9, 9.25, 30, rows=1, columns=1)],
    [Text(2), Video((Frame(MediaTime.of(4), 2, 2), Frame(MediaTime.of(6.5), 3, 1))), Text(4)],
    [Text(7)],
]
"""Videos of uneven times, pictures beside videos, frames of different sizes, and text alone."""


def _moved(pieces: Sequence[Piece], seconds: float, stretch: int = 1) -> list[Piece]:
    def at(time: MediaTime) -> MediaTime:
        return MediaTime(time.nanos * stretch) + MediaTime.of(seconds)

    return [
        Video(tuple(Frame(at(frame.time), frame.rows, frame.columns) for frame in piece.frames)) if isinstance(piece, Video) else piece
        for piece in pieces
    ]


@pytest.mark.parametrize("pieces", PROMPTS)
def test_a_scene_means_the_same_wherever_in_the_stream_it_is(pieces: list[Piece]) -> None:
    here, there = (place(each, tokens_per_second=RATE) for each in (pieces, _moved(pieces, 86_399.987)))
    assert (here.ids == there.ids).all()
    assert here.next == there.next


def test_ids_grow_with_seconds() -> None:
    pieces = [_video(1, 1.75, 4)]
    once, thrice = (place(each, tokens_per_second=8).ids[1] for each in (pieces, _moved(pieces, 0, stretch=3)))
    assert (thrice == 3 * once).all()
    assert (place(pieces, tokens_per_second=16).ids[1] == 2 * once).all()


@pytest.mark.parametrize("pieces", PROMPTS)
def test_no_two_tokens_are_at_one_place_and_nothing_comes_before_what_was_before(pieces: list[Piece]) -> None:
    placed = place(pieces, tokens_per_second=RATE)
    starts, ends = [], [0]
    position = 0
    for piece in pieces:
        count = piece.tokens if isinstance(piece, Text) else sum(frame.rows * frame.columns for frame in piece.frames)
        part = placed.ids[1:, 0, position : position + count]
        starts.append(part.min())
        assert part.min() >= ends[-1], "a piece begins behind all that was before it"
        assert (np.diff(part[0]) >= 0).all(), "time does not go back"
        ends.append(part.max() + 1)
        position += count
    assert starts == sorted(set(starts))
    assert placed.next == ends[-1]
    assert placed.ids[0, 0].tolist() == list(range(placed.tokens))


def test_frames_a_token_apart_or_more_have_ids_of_their_own() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        times = _times(*np.cumsum(rng.uniform(1 / RATE, 9, size=12)))
        ids = temporal_ids(times, RATE)
        assert ids == sorted(set(ids))
        assert all(abs(each - (time - times[0]).seconds * RATE) < 1 for each, time in zip(ids, times, strict=True))


@pytest.mark.parametrize("pieces", PROMPTS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_prompt_may_be_continued_from_a_cache(pieces: list[Piece], cut: int) -> None:
    whole = place(pieces, tokens_per_second=RATE)
    first = place(pieces[:cut], tokens_per_second=RATE)
    rest = place(pieces[cut:], tokens_per_second=RATE, start=first.next, behind=first.tokens)
    assert (np.concatenate([first.ids, rest.ids], axis=2) == whole.ids).all()
    assert rest.next == whole.next


def test_a_prompt_of_nothing_goes_on_where_it_began() -> None:
    assert place([], tokens_per_second=RATE, start=9, behind=4).next == 9


# Golden: the rule as Qwen published it, and transformers where that one keeps to it.


def _published(pieces: Sequence[Piece], interval: float) -> list[list[int]]:
    """Qwen's `get_rope_index` for Qwen2.5-VL as published: everything starts at the largest id so far plus one."""
    three: list[tuple[int, int, int]] = []
    for piece in pieces:
        start = max(itertools.chain.from_iterable(three), default=-1) + 1
        if isinstance(piece, Text):
            three += [(start + each,) * 3 for each in range(piece.tokens)]
            continue
        rows, columns = piece.frames[0].rows, piece.frames[0].columns
        for t, h, w in itertools.product(range(len(piece.frames)), range(rows), range(columns)):
            three.append((start + int(t * interval * RATE), start + h, start + w))
    return [list(row) for row in zip(*three, strict=True)]


@pytest.mark.parametrize("interval", [0.25, 0.5, 1.0, 1.5, 4.0])
def test_even_times_equal_the_published_rule_text_behind_included(interval: float) -> None:
    video = _video(*(20 + index * interval for index in range(6)), rows=3, columns=5)
    pieces: list[Piece] = [Text(4), _video(0, rows=2, columns=6), Text(1), video, Text(8)]
    assert place(pieces, tokens_per_second=RATE).ids[1:, 0].tolist() == _published(pieces, interval)


def _rope_index(module: Any, config: Any, pieces: Sequence[Piece], interval: float | None, *, paired: int = 1) -> Any:
    """What transformers makes of a prompt: pictures of one frame as images, longer ones as videos."""
    import torch

    kinds: list[int] = []
    grids: dict[int, list[list[int]]] = {1: [], 2: []}
    for piece in pieces:
        if isinstance(piece, Text):
            kinds += [0] * piece.tokens
            continue
        kind = 1 if len(piece.frames) == 1 else 2
        first = piece.frames[0]
        kinds += [kind] * sum(frame.rows * frame.columns for frame in piece.frames)
        grids[kind].append([len(piece.frames), first.rows * 2, first.columns * 2])
    types = torch.tensor([kinds])
    given = {
        "image_grid_thw": torch.tensor(grids[1]) if grids[1] else None,
        "video_grid_thw": torch.tensor(grids[2]) if grids[2] else None,
    }
    if interval is not None:
        given["second_per_grid_ts"] = torch.tensor([interval * paired] * len(grids[2]))
    owner = type("Owner", (), {"config": config, "get_vision_position_ids": module.get_vision_position_ids})()
    return module.get_rope_index(owner, torch.zeros_like(types), mm_token_type_ids=types, **given)[0].numpy()


@pytest.mark.parametrize("interval", [0.25, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("paired", [1, 2])
def test_even_times_give_the_ids_of_transformers_up_to_the_end_of_the_video(interval: float, paired: int) -> None:
    from transformers import Qwen2_5_VLConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel

    frames = _times(*(3 + index * interval for index in range(8)))
    video = Video(tuple(Frame(time, 3, 4) for time in frames[::paired]))
    pieces: list[Piece] = [Text(2), _video(0, rows=2, columns=5), Text(3), video]
    config = Qwen2_5_VLConfig(vision_config={"tokens_per_second": RATE})
    theirs = _rope_index(Qwen2_5_VLModel, config, [*pieces, Text(4)], interval, paired=paired)
    ours = place([*pieces, Text(4)], tokens_per_second=RATE).ids[1:]
    end = ours.shape[2] - 4
    assert (ours[..., :end] == theirs[..., :end]).all()
    # transformers 5.23 starts the text inside the video's ids; Qwen's own code starts it behind them.
    assert ours[0, 0, end] == ours[:, 0, :end].max() + 1
    assert ours[0, 0, end] >= theirs[0, 0, end]


def test_blocks_of_one_frame_give_the_ids_of_transformers_for_qwen3() -> None:
    from transformers import Qwen3VLConfig
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

    stamps = [
        Text(5),
        _video(0, rows=3, columns=4),
        Text(6),
        _video(2.7, rows=2, columns=7),
        Text(5),
        _video(31, rows=3, columns=4),
        Text(9),
    ]
    theirs = _rope_index(Qwen3VLModel, Qwen3VLConfig(), stamps, None)
    assert (place(stamps, tokens_per_second=RATE).ids[1:] == theirs).all()


# Time in text.


def test_qwen3_is_told_seconds() -> None:
    assert [qwen3_time(time) for time in _times(0, 2.04, 61)] == ["<0.0 seconds>", "<2.0 seconds>", "<61.0 seconds>"]


@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        ((7, 10.9, 75), ["00:00", "00:03", "01:08"]),
        ((7, 7.5, 75), ["00:00.0", "00:00.5", "01:08.0"]),
        ((7, 7.53, 7.58), ["00:00.000", "00:00.530", "00:00.580"]),
        ((7, 7), ["00:00.000", "00:00.000"]),
        ((), []),
    ],
)
def test_a_clock_is_as_fine_as_it_has_to_be(seconds: tuple[float, ...], texts: list[str]) -> None:
    assert clock_times(_times(*seconds)) == texts


# Times that repeat or go back.


def test_a_late_frame_is_put_where_it_belongs_and_a_second_one_at_a_time_is_left_out() -> None:
    assert in_order(_times(1, 4, 2, 4, 1, 9)) == [0, 2, 1, 5]
    assert in_order([]) == []
