"""Which frames are chosen and where scenes begin, told with thumbnails drawn for the purpose."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from watchword.v1 import scene_pb2

from pipeline.sample.options import DEFAULTS, Options
from pipeline.sample.select import MEMORY, Chosen, Closed, Selector
from pipeline.timeline import ZERO, MediaTime

pytestmark = pytest.mark.unit

FIRST = scene_pb2.KEYFRAME_REASON_FIRST
CUT = scene_pb2.KEYFRAME_REASON_CUT
CHANGE = scene_pb2.KEYFRAME_REASON_CHANGE
INTERVAL = scene_pb2.KEYFRAME_REASON_INTERVAL
MOTION_PEAK = scene_pb2.KEYFRAME_REASON_MOTION_PEAK
TEXT = scene_pb2.KEYFRAME_REASON_TEXT
RATE = 25
Luma = NDArray[np.uint8]


def scene(index: int, *, darkness: int = 1) -> Luma:
    """A picture unlike that of any other index."""
    rng = np.random.default_rng(index)
    coarse = rng.integers(0, 256, (6, 8)) // darkness
    return np.kron(coarse, np.ones((6, 8))).astype(np.uint8)


def panorama(width: int = 400) -> Luma:
    coarse = np.random.default_rng(99).integers(0, 256, (6, width // 8))
    return np.kron(coarse, np.ones((6, 8))).astype(np.uint8)


def noisy(frames: Iterable[Luma], amount: int = 3) -> list[Luma]:
    rng = np.random.default_rng(7)
    return [np.clip(frame.astype(int) + rng.integers(-amount, amount + 1, frame.shape), 0, 255).astype(np.uint8) for frame in frames]


def mixed(before: Luma, after: Luma, frames: int) -> list[Luma]:
    """The frames of a dissolve, none of them pure."""
    shares = (np.arange(frames) + 1) / (frames + 1)
    return [((1 - share) * before + share * after).astype(np.uint8) for share in shares]


def smooth(picture: Luma) -> Luma:
    """Without what a thumbnail of means has not."""
    wide = np.pad(picture.astype(float), 1, mode="edge")
    rows = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    return ((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16).astype(np.uint8)


def shifted(wide: Luma, right: float, down: float, zoom: float) -> Luma:
    """36x64 of a picture, seen by a camera that looks `right` and `down` of its corner."""
    rows = np.clip((np.arange(36) - 17.5) * zoom + 17.5 + down, 0, wide.shape[0] - 1)
    columns = np.clip((np.arange(64) - 31.5) * zoom + 31.5 + right, 0, wide.shape[1] - 1)
    across = np.array([np.interp(columns, np.arange(wide.shape[1]), row) for row in wide])
    return np.array([np.interp(rows, np.arange(wide.shape[0]), column) for column in across.T]).T.astype(np.uint8)


def even_times(count: int, rate: float = RATE) -> list[MediaTime]:
    return [MediaTime.of(number / rate) for number in range(count)]


def select(
    frames: Sequence[Luma], times: Sequence[MediaTime] | None = None, options: Options = DEFAULTS, restarts: Iterable[int] = ()
) -> list[Chosen[int] | Closed]:
    """Everything that is decided about the frames; the payload is the frame's number."""
    times = times or even_times(len(frames))
    selector: Selector[int] = Selector(options)
    decisions: list[Chosen[int] | Closed] = []
    for number, (time, frame) in enumerate(zip(times, frames, strict=True)):
        decisions += selector.push(time, frame, number, restart=number in set(restarts))
    return decisions + selector.finish(times[-1] + MediaTime.of(0.04) if times else ZERO)


def chosen(decisions: Iterable[Chosen[int] | Closed], *reasons: int) -> list[int]:
    return [each.payload for each in decisions if isinstance(each, Chosen) and (not reasons or each.reason in reasons)]


def test_nothing_comes_of_no_frames() -> None:
    assert select([]) == []


def test_a_cut_is_found_at_the_first_frame_of_the_new_shot_and_closes_the_scene_there() -> None:
    decisions = select(noisy([scene(1)] * 40 + [scene(2)] * 40))
    assert chosen(decisions, CUT) == [40]
    assert [(type(each).__name__, each.start.millis, each.end.millis) for each in decisions if isinstance(each, Closed)] == [
        ("Closed", 0, 1600),
        ("Closed", 1600, 3200),
    ]
    first, closed, cut, _ = decisions
    assert isinstance(first, Chosen)
    assert (first.reason, first.score, first.motion) == (FIRST, 1.0, 0.0)
    assert isinstance(closed, Closed)
    assert isinstance(cut, Chosen)
    assert cut.score > 0.6
    assert cut.scene == cut.time == MediaTime.of(1.6)
    assert 0 < cut.motion < 0.02, "the cut's own step is no motion"


def test_a_cut_is_told_two_frames_later_at_most() -> None:
    selector: Selector[int] = Selector(Options())
    frames = noisy([scene(1)] * 20 + [scene(2)] * 3)
    told = [number for number, frame in enumerate(frames) if selector.push(MediaTime.of(number / RATE), frame, number)]
    assert told == [0, 22]


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_no_cut(length: int) -> None:
    white = np.full((36, 64), 250, np.uint8)
    decisions = select(noisy([scene(1)] * 30 + [white] * length + [scene(1)] * 30))
    assert chosen(decisions, CUT) == []
    assert len([each for each in decisions if isinstance(each, Closed)]) == 1


def test_a_flash_that_fades_away_is_no_cut() -> None:
    flash = [np.clip(scene(1).astype(int) + more, 0, 255).astype(np.uint8) for more in (200, 120, 30)]
    assert chosen(select(noisy([scene(1)] * 30 + flash + [scene(1)] * 30)), CUT) == []


def test_a_shot_of_five_frames_is_two_cuts() -> None:
    assert chosen(select(noisy([scene(1)] * 30 + [scene(2)] * 5 + [scene(1)] * 30)), CUT) == [30, 35]


def test_a_blended_frame_at_a_cut_makes_one_cut_within_a_frame() -> None:
    (cut,) = chosen(select(noisy([scene(1)] * 30 + mixed(scene(1), scene(2), 1) + [scene(2)] * 30)), CUT)
    assert cut in (30, 31)


def test_a_cut_between_dark_pictures_is_found_by_their_brightness() -> None:
    dark, darker = np.full((36, 64), 30, np.uint8), np.full((36, 64), 17, np.uint8)
    assert chosen(select(noisy([dark] * 40 + [darker] * 40, amount=1)), CUT) == [40]


def test_a_pan_brings_changes_but_no_cut_and_no_new_scene() -> None:
    wide = panorama()
    decisions = select(noisy([wide[:, 2 * number : 2 * number + 64] for number in range(160)]))
    assert chosen(decisions, CUT) == []
    assert len(chosen(decisions, CHANGE, MOTION_PEAK)) >= 3
    assert len([each for each in decisions if isinstance(each, Closed)]) == 1


def test_a_cut_stands_out_of_a_pan() -> None:
    wide = panorama()
    pan = [wide[:, 2 * number : 2 * number + 64] for number in range(100)]
    assert chosen(select(noisy([*pan, *[scene(2)] * 30])), CUT) == [100]


@pytest.mark.parametrize("length", [12, 25, 50])
def test_a_dissolve_opens_a_scene_when_it_is_done_and_its_middle_is_not_chosen(length: int) -> None:
    frames = noisy([scene(1)] * 75 + mixed(scene(1), scene(2), length) + [scene(2)] * 75)
    decisions = select(frames)
    assert chosen(decisions, CUT) == []
    in_between = [number for number in chosen(decisions) if 75 <= number < 75 + length]
    assert in_between == [] if length < 50 else len(in_between) <= 1, "only of a long one"
    (border,) = [each.start for each in decisions if isinstance(each, Closed)][1:]
    assert 0 <= border.seconds - (75 + length) / RATE <= 0.3
    opening = next(each for each in decisions if isinstance(each, Chosen) and each.scene == border)
    assert (opening.reason, opening.time) == (CHANGE, border)


def test_a_fade_to_black_and_up_again_parts_the_scenes() -> None:
    black = np.zeros((36, 64), np.uint8)
    frames = [scene(1)] * 75 + mixed(scene(1), black, 25) + [black] * 50 + mixed(black, scene(2), 25) + [scene(2)] * 75
    decisions = select(noisy(frames))
    assert chosen(decisions, CUT) == []
    assert len([each for each in decisions if isinstance(each, Closed)]) == 3


def test_light_that_dims_does_not_part_the_scene() -> None:
    dim = (scene(1) // 3).astype(np.uint8)
    decisions = select(noisy([scene(1)] * 75 + mixed(scene(1), dim, 25) + [dim] * 75))
    assert chosen(decisions, CHANGE)
    assert len([each for each in decisions if isinstance(each, Closed)]) == 1


def test_a_still_picture_is_chosen_at_the_longest_interval_only() -> None:
    decisions = select([scene(1)] * (26 * RATE))
    assert [(each.reason, each.time.seconds, each.score, each.motion) for each in decisions if isinstance(each, Chosen)] == [
        (FIRST, 0.0, 1.0, 0.0),
        (INTERVAL, 10.0, 0.0, 0.0),
        (INTERVAL, 20.0, 0.0, 0.0),
    ]


def test_cuts_have_no_budget() -> None:
    shots = [frame for index in range(40) for frame in [scene(index)] * 8]
    assert chosen(select(noisy(shots)), CUT) == list(range(8, 320, 8))


def test_a_scene_in_steady_change_yields_no_more_than_its_budget() -> None:
    wide = panorama(2000)
    decisions = select(noisy([wide[:, 3 * number : 3 * number + 64] for number in range(600)]))
    assert len([each for each in decisions if isinstance(each, Closed)]) == 1
    assert 8 <= len(chosen(decisions, CHANGE)) <= 4 + 24 / 2


def test_a_scene_that_is_too_long_ends_where_decoding_can_start() -> None:
    decisions = select([scene(1)] * (45 * RATE), restarts=range(0, 45 * RATE, 8 * RATE))
    assert [each.end.seconds for each in decisions if isinstance(each, Closed)] == [32.0, 45.0]
    opening = next(each for each in decisions if isinstance(each, Chosen) and each.time == MediaTime.of(32))
    assert (opening.reason, opening.anew, opening.scene) == (INTERVAL, True, MediaTime.of(32))


def test_a_scene_ends_in_the_end_where_decoding_can_start_nowhere() -> None:
    decisions = select([scene(1)] * (45 * RATE))
    assert [each.end.seconds for each in decisions if isinstance(each, Closed)] == [40.0, 45.0]
    assert not any(each.anew for each in decisions[1:] if isinstance(each, Chosen))


def test_a_cut_where_decoding_can_start_is_a_cut_all_the_same() -> None:
    decisions = select(noisy([scene(1)] * (33 * RATE) + [scene(2)] * 30), restarts=(0, 33 * RATE))
    assert chosen(decisions, CUT) == [33 * RATE]


@pytest.mark.parametrize("rate", [1, 2, 5, 10, 60])
def test_cuts_are_found_at_any_frame_rate(rate: int) -> None:
    frames = noisy([scene(1)] * 12 + [scene(2)] * 12)
    assert chosen(select(frames, even_times(24, rate)), CUT) == [12]


def test_frames_far_apart_that_differ_by_motion_are_no_cuts() -> None:
    wide = panorama()
    frames = [wide[:, 3 * number : 3 * number + 64] for number in range(40)]
    assert chosen(select(noisy(frames), even_times(40, 1)), CUT) == []


def test_uneven_times_are_told_as_they_are() -> None:
    steps = np.random.default_rng(3).uniform(0.01, 0.09, 80)
    times = [MediaTime.of(float(time)) for time in np.cumsum(steps)]
    decisions = select(noisy([scene(1)] * 40 + [scene(2)] * 40), times)
    assert [each.time for each in decisions if isinstance(each, Chosen) and each.reason == CUT] == [times[40]]


def test_a_cut_in_the_last_frame_is_not_lost() -> None:
    assert chosen(select(noisy([scene(1)] * 40 + [scene(2)])), CUT) == [40]


def textured(seed: int, width: int = 64, height: int = 36) -> Luma:
    """A picture with structure at every scale, as photographs have."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width))
    for size in (2, 3, 6, 12):
        rows, columns = -(-height // size), -(-width // size)
        picture += np.kron(rng.normal(0, size, (rows, columns)), np.ones((size, size)))[:height, :width]
    return np.clip(128 + 9 * picture, 10, 245).astype(np.uint8)


def lit(frames: Iterable[Luma], light: Iterable[float]) -> list[Luma]:
    return [np.clip(frame * share, 0, 255).astype(np.uint8) for frame, share in zip(frames, light, strict=True)]


def with_square(base: Luma, left: int, top: int, side: int = 12) -> Luma:
    """With something light before it, wherever of it is in the picture."""
    wide = np.pad(base, side)
    wide[top + side : top + 2 * side, left + side : left + 2 * side] = 235
    return wide[side:-side, side:-side]


def with_writing(base: Luma, top: int = 14) -> Luma:
    """With strokes as letters have them."""
    written = base.copy()
    written[top : top + 4, 10:40:2] = 250
    written[top : top + 4, 11:40:2] = 10
    return written


@pytest.mark.parametrize("rate", [25, 50])
@pytest.mark.parametrize("hertz", [2.0, 6.0, 12.5])
def test_light_that_flickers_is_no_cut_and_no_dissolve(hertz: float, rate: int) -> None:
    light = [1 + 0.3 * np.sign(np.sin(2 * np.pi * hertz * number / rate + 0.1)) for number in range(6 * rate)]
    decisions = select(noisy(lit([textured(1)] * len(light), light)), even_times(len(light), rate))
    assert chosen(decisions, CUT) == []
    assert len([each for each in decisions if isinstance(each, Closed)]) == 1


def test_a_cut_is_found_under_a_light_that_flickers() -> None:
    light = [1 + 0.2 * (-1) ** number for number in range(150)]
    assert chosen(select(noisy(lit([textured(1)] * 75 + [textured(2)] * 75, light))), CUT) == [75]


def test_a_lamp_that_is_switched_on_is_no_cut() -> None:
    frames = noisy(lit([textured(1)] * 100, [0.4] * 50 + [1.0] * 50))
    assert chosen(select(frames), CUT) == []


def test_a_cut_between_night_shots_is_found() -> None:
    frames = lit([textured(1)] * 50 + [textured(2)] * 50, [0.1] * 100)
    assert chosen(select(noisy(frames, amount=1)), CUT) == [50]


def test_a_cut_to_another_colour_alone_is_found_where_colour_is_known() -> None:
    grey = noisy([np.full((36, 64), 128, np.uint8)] * 60)
    selector: Selector[int] = Selector(DEFAULTS)
    told: list[Chosen[int] | Closed] = []
    for number, frame in enumerate(grey):
        chroma = np.stack([np.full((18, 32), 90 if number < 30 else 170, np.uint8), np.full((18, 32), 128, np.uint8)])
        told += selector.push(MediaTime.of(number / RATE), frame, number, chroma=chroma)
    assert chosen(told, CUT) == [30]
    assert chosen(select(grey), CUT) == []


def test_a_whip_pan_is_no_cut() -> None:
    wide = textured(3, width=500)
    places = [0] * 40 + list(range(0, 400, 40)) + [400] * 40
    frames = [wide[:, place : place + 64] for place in places]
    assert chosen(select(noisy(frames)), CUT) == []


def test_writing_that_fills_a_slide_is_no_cut_but_a_keyframe_of_its_own() -> None:
    slide = np.full((36, 64), 60, np.uint8)
    frames = noisy([slide] * 50 + [with_writing(slide)] * 60 + [with_writing(with_writing(slide), top=24)] * 60, amount=1)
    decisions = select(frames)
    assert chosen(decisions, CUT) == []
    first, second = chosen(decisions, TEXT)
    assert 50 < first <= 50 + RATE // 2
    assert 110 < second <= 110 + RATE // 2


def test_writing_on_a_photograph_is_noticed_and_things_that_come_to_rest_are_no_writing() -> None:
    photo = textured(4)
    assert chosen(select(noisy([photo] * 50 + [with_writing(photo)] * 50)), TEXT)
    arriving = [with_square(photo, min(-12 + 2 * number, 26), 10) for number in range(60)]
    assert chosen(select(noisy([photo] * 50 + arriving)), TEXT) == []


def test_writing_is_noticed_among_frames_that_are_a_second_apart() -> None:
    slide = np.full((36, 64), 60, np.uint8)
    frames = noisy([slide] * 4 + [with_writing(slide)] * 8, amount=1)
    assert chosen(select(frames, even_times(12, 1), Options(maximum_gap=MediaTime.of(60))), TEXT, CHANGE)[:1] in ([4], [5])


def test_fast_motion_gives_a_burst_around_its_peak() -> None:
    photo = textured(5)
    crossing = [with_square(photo, -12 + 4 * number, 12, side=14) for number in range(20)]
    decisions = select(noisy([photo] * (8 * RATE) + crossing + [photo] * 50), options=Options(maximum_gap=MediaTime.of(60)))
    burst = chosen(decisions, MOTION_PEAK)
    assert 3 <= len(burst) <= 4
    assert burst[0] >= 8 * RATE
    assert burst[-1] <= 8 * RATE + 20
    steps = np.diff(burst) / RATE
    assert steps.min() >= 0.08
    assert steps.max() <= 0.16
    assert chosen(decisions) == sorted(chosen(decisions))


def test_slow_motion_gives_no_burst() -> None:
    photo = textured(5)
    drifting = [with_square(photo, number // 4, 12) for number in range(200)]
    decisions = select(noisy([photo] * (6 * RATE) + drifting))
    peaks = chosen(decisions, MOTION_PEAK)
    assert all(later - sooner > 2 * RATE for sooner, later in pairwise(peaks))


@pytest.mark.parametrize("dense", [1, 2, 3, 4])
def test_a_cut_soon_after_a_look_at_a_picture_that_was_still_is_a_cut(dense: int) -> None:
    """Two shots with much in common; between the looks nothing was decoded."""
    common = textured(1).astype(int)
    before, after = (np.clip((2 * common + textured(seed)) / 3, 0, 255).astype(np.uint8) for seed in (2, 3))
    looks = [*even_times(11, 10), MediaTime.of(5), MediaTime.of(9)]
    close = [MediaTime.of(9 + 0.1 * number) for number in range(1, dense + 15)]
    decisions = select(noisy([before] * (len(looks) + dense) + [after] * 14), times=[*looks, *close])
    assert chosen(decisions, CUT) == [len(looks) + dense]


def test_what_passes_through_a_picture_at_rest_is_chosen_once_and_the_empty_picture_not_again() -> None:
    photo = textured(5)
    passing = [with_square(photo, -10 + 4 * number, 12, side=8) for number in range(20)]
    decisions = select(noisy([photo] * RATE + passing + [photo] * (3 * RATE)))
    (seen, *more) = chosen(decisions)[1:]
    assert RATE + 3 <= seen < RATE + 18, "while it can be seen, although the scene has just begun"
    assert more == []


def brought(photo: Luma, *, leaves: bool) -> list[Luma]:
    """Something is carried into a picture at rest from the left, slowly, and stays or is carried on and out again."""
    path = [*range(-10, 72, 4)] if leaves else [*range(-10, 24, 4), *[24] * (2 * RATE)]
    return [photo] * (6 * RATE) + [with_square(photo, left, 12, side=10) for left in path] + ([photo] * (2 * RATE) if leaves else [])


def test_of_an_action_the_picture_of_its_result_is_chosen_and_not_its_midst() -> None:
    decisions = select(noisy(brought(textured(5), leaves=False)), options=Options(maximum_gap=MediaTime.of(60), at_once=1))
    (result,) = chosen(decisions)[1:]
    assert 6 * RATE + 10 <= result < 7 * RATE + 10, "where it stays, at rest, and soon"


def test_of_what_passes_the_picture_in_its_midst_is_chosen_because_nothing_comes_of_it() -> None:
    decisions = select(noisy(brought(textured(5), leaves=True)), options=Options(maximum_gap=MediaTime.of(60), at_once=1))
    (passing,) = chosen(decisions, MOTION_PEAK)
    assert 6 * RATE + 1 <= passing < 6 * RATE + 21
    assert chosen(decisions) == [0, passing]


def test_a_peak_of_motion_just_before_a_cut_is_chosen() -> None:
    photo = textured(5)
    passing = [with_square(photo, -10 + 4 * number, 12, side=10) for number in range(14)]
    decisions = select(noisy([photo] * (6 * RATE) + passing + [textured(8)] * RATE), options=Options(at_once=1))
    assert chosen(decisions, CUT) == [6 * RATE + 14]
    (peak,) = chosen(decisions, MOTION_PEAK)
    assert 6 * RATE < peak < 6 * RATE + 14


def test_a_change_that_leads_to_a_cut_is_not_chosen() -> None:
    photo = textured(5)
    decisions = select(noisy([photo] * (4 * RATE) + [with_square(photo, 20, 6, side=20)] * 6 + [textured(8)] * RATE))
    assert chosen(decisions) == [0, 4 * RATE + 6]


def test_a_change_just_before_a_cut_is_chosen_when_it_lasted() -> None:
    photo = textured(5)
    decisions = select(noisy([photo] * (4 * RATE) + [with_square(photo, 20, 6, side=20)] * 14 + [textured(8)] * RATE))
    assert [number for number in chosen(decisions) if 4 * RATE <= number < 4 * RATE + 14]
    borders = [each.payload for each in decisions if isinstance(each, Chosen) and each.scene == each.time]
    assert borders == [0, 4 * RATE + 14]


def test_the_last_change_is_told_when_the_stream_ends() -> None:
    photo = textured(5)
    decisions = select(noisy([photo] * (4 * RATE) + [with_square(photo, 20, 6, side=20)] * 6))
    assert [number for number in chosen(decisions) if number >= 4 * RATE]


@pytest.mark.parametrize("allowed", [10, 30])
def test_cuts_are_never_dropped_and_in_quick_succession_take_what_the_rest_would_have(allowed: float) -> None:
    frames: list[Luma] = []
    for turn in range(20):
        frames += [textured(turn)] * 20 + [with_square(textured(turn), 20, 6, side=20)] * 22
    decisions = select(noisy(frames), options=Options(keyframes_a_minute=allowed))
    cuts = [42 * turn for turn in range(20)]
    assert [number for number in chosen(decisions) if number in cuts] == cuts
    assert [number for number in chosen(decisions) if number not in cuts and number > cuts[1]] == []


def test_what_came_of_a_motion_is_seen_once_it_has_settled() -> None:
    photo = textured(6)
    arriving = [with_square(photo, min(-12 + 3 * number, 30), 10) for number in range(60)]
    decisions = select(noisy([photo] * (3 * RATE) + arriving + [with_square(photo, 30, 10)] * RATE))
    settled = 3 * RATE + 14
    assert any(settled <= number <= settled + RATE for number in chosen(decisions, CHANGE, MOTION_PEAK, TEXT))


def test_a_flash_is_no_change_either() -> None:
    white = np.full((36, 64), 250, np.uint8)
    frames = noisy([textured(1)] * 75 + [white] * 2 + [textured(1)] * 40)
    assert not {75, 76} & set(chosen(select(frames)))


def test_a_slow_pan_yields_a_keyframe_when_much_has_come_into_view_and_not_sooner() -> None:
    wide = textured(7, width=400)
    frames = [wide[:, number // 4 : number // 4 + 64] for number in range(150)]
    changes = chosen(select(noisy(frames), options=Options(maximum_gap=MediaTime.of(60))), CHANGE, MOTION_PEAK)
    assert changes
    assert changes[0] >= 40, "a sixth of the picture is new"


def test_a_camera_that_is_held_or_zooms_slowly_brings_nothing_new() -> None:
    wide = smooth(textured(7, width=120))
    held = [shifted(wide, 20 + 3 * np.sin(number / 9), 2 * np.sin(number / 13), 1.0) for number in range(200)]
    zooming = [shifted(wide, 28, 0, 1 - number / 1000) for number in range(100)]
    options = Options(maximum_gap=MediaTime.of(60))
    assert chosen(select(noisy(held), options=options)) == [0]
    assert chosen(select(noisy(zooming), options=options)) == [0]


def test_what_passes_a_camera_that_is_held_is_shown_even_before_the_budget_has_a_keyframe() -> None:
    wide = smooth(textured(7, width=120))
    frames = [shifted(wide, 20 + 3 * np.sin(number / 9), 2 * np.sin(number / 13), 1.0) for number in range(100)]
    for number in range(14, 26):
        frames[number] = with_square(frames[number], 4 * (number - 13), 10, side=14)
    first, *rest = chosen(select(noisy(frames)))
    assert first == 0
    assert any(14 <= number < 26 for number in rest)


def test_something_small_that_stays_in_a_picture_at_rest_is_a_change_and_what_goes_away_again_is_none() -> None:
    photo = smooth(textured(5))
    small = photo.copy()
    small[20:23, 30:36] = np.clip(small[20:23, 30:36].astype(int) + 60, 0, 255)
    options = Options(maximum_gap=MediaTime.of(60))
    stays = select(noisy([photo] * 75 + [small] * 50), options=options)
    (at,) = chosen(stays, CHANGE)
    assert 75 <= at < 75 + RATE
    assert chosen(select(noisy([photo] * 75 + [small] * 4 + [photo] * 75), options=options)) == [0]


def test_no_more_keyframes_than_the_budget_but_for_cuts() -> None:
    wide = textured(8, width=4000)
    rushing = noisy([wide[:, 3 * number : 3 * number + 64] for number in range(40 * RATE)])
    for a_minute in (10.0, 30.0):
        decisions = select(rushing, options=Options(keyframes_a_minute=a_minute, maximum_gap=MediaTime.of(30)))
        scenes = len([each for each in decisions if isinstance(each, Closed)])
        assert len(chosen(decisions)) <= 40 / 60 * a_minute + scenes + 1
    shots = noisy([frame for index in range(60) for frame in [textured(index)] * 10])
    assert len(chosen(select(shots, options=Options(keyframes_a_minute=1)), CUT)) == 59


def test_the_least_novel_are_left_out_when_the_budget_is_short() -> None:
    """Small and large changes take turns; with few keyframes the large ones are shown."""
    photo = textured(9)
    frames: list[Luma] = []
    for turn in range(12):
        frames += [photo] * 50 + ([with_square(photo, 8 + turn, 8, side=6)] if turn % 2 else [textured(100 + turn)]) * 50
    many = select(noisy(frames), options=Options(keyframes_a_minute=60))
    few = select(noisy(frames), options=Options(keyframes_a_minute=12))
    assert len(chosen(few)) < len(chosen(many))
    scores = [np.mean([each.score for each in told if isinstance(each, Chosen) and each.reason != INTERVAL]) for told in (few, many)]
    assert scores[0] > scores[1]


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0])
def test_a_dissolve_between_moving_shots_opens_one_scene(seconds: float) -> None:
    one, other = textured(11, width=300), textured(12, width=300)
    length = int(seconds * RATE)
    frames = [one[:, number // 8 : number // 8 + 64] for number in range(100)]
    for number in range(length):
        share = (number + 1) / (length + 1)
        before, after = one[:, (100 + number) // 8 :][:, :64], other[:, number // 8 :][:, :64]
        frames.append(((1 - share) * before + share * after).astype(np.uint8))
    frames += [other[:, (length + number) // 8 :][:, :64] for number in range(100)]
    decisions = select(noisy(frames))
    assert chosen(decisions, CUT) == []
    (border,) = [each.start for each in decisions if isinstance(each, Closed)][1:]
    assert -0.3 <= border.seconds - (100 + length) / RATE <= 0.5


def test_a_short_black_between_two_shots_is_one_border_and_a_lamp_that_fails_for_a_moment_is_none() -> None:
    black = np.zeros((36, 64), np.uint8)
    for after, scenes in ((textured(2), 2), (textured(1), 1)):
        fade = mixed(textured(1), black, 20) + [black] * 6 + mixed(black, after, 20)
        decisions = select(noisy([textured(1)] * 75 + fade + [after] * 75, amount=1))
        assert chosen(decisions, CUT) == []
        assert len([each for each in decisions if isinstance(each, Closed)]) == scenes


def barred(picture: Luma, rows: int, columns: int) -> Luma:
    """The picture between black bars, as codecs leave them: not quite black."""
    barred = np.random.default_rng(3).integers(0, 4, picture.shape).astype(np.uint8)
    inside = np.s_[rows : 36 - rows, columns : 64 - columns]
    barred[inside] = picture[inside]
    return barred


def pale(index: int) -> Luma:
    """A light picture of little contrast beside that of black bars."""
    return (150 + textured(index) // 3).astype(np.uint8)


@pytest.mark.parametrize(("rows", "columns"), [(0, 8), (0, 12), (5, 0), (7, 0), (4, 6)])
def test_a_cut_between_black_bars_is_found_as_one_without(rows: int, columns: int) -> None:
    frames = noisy([pale(1)] * 40 + [pale(2)] * 40 + [pale(3)] * 40)
    assert chosen(select([barred(each, rows, columns) for each in frames]), CUT) == [40, 80]


def test_a_fade_to_white_between_black_bars_parts_the_scenes() -> None:
    white = np.full((36, 64), 235, np.uint8)
    frames = [textured(1)] * 75 + mixed(textured(1), white, 25) + [white] * 10 + mixed(white, textured(2), 25) + [textured(2)] * 75
    decisions = select([barred(each, 0, 8) for each in noisy(frames)])
    assert chosen(decisions, CUT) == []
    assert len([each for each in decisions if isinstance(each, Closed)]) == 2


def view(wide: Luma, at: float) -> Luma:
    """64 columns of a wide picture, from a place between two of them."""
    whole, part = int(at), at - int(at)
    return ((1 - part) * wide[:, whole : whole + 64] + part * wide[:, whole + 1 : whole + 65]).astype(np.uint8)


@pytest.mark.parametrize("seconds", [0.6, 0.8, 1.2])
def test_a_dissolve_between_two_pans_opens_one_scene(seconds: float) -> None:
    length, speed = int(seconds * RATE), 10 / RATE
    one, other = textured(11, width=160), textured(12, width=160)
    frames = []
    for number in range(100 + length + 100):
        before, after = view(one, speed * number if number < 180 else 0), view(other, speed * max(number - 100, 0))
        share = min(max((number - 99) / (length + 1), 0), 1)
        frames.append(((1 - share) * before + share * after).astype(np.uint8))
    decisions = select(noisy(frames))
    assert chosen(decisions, CUT) == []
    (border,) = [each.start for each in decisions if isinstance(each, Closed)][1:]
    assert -0.3 <= border.seconds - (100 + length) / RATE <= 0.5


def test_a_dark_shot_in_which_hardly_anything_shows_is_no_fade() -> None:
    wide = (textured(5, width=400) // 14).astype(np.uint8)
    frames = [(view(wide, number / 2) * (0.7 + 0.3 * np.cos(number / 30))).astype(np.uint8) for number in range(300)]
    assert len([each for each in select(noisy(frames, amount=1)) if isinstance(each, Closed)]) == 1


def test_what_clouds_and_clears_after_a_fade_is_no_other_fade() -> None:
    black = np.zeros((36, 64), np.uint8)
    clear = np.interp(np.arange(150), [0, 5, 8, 27, 150], [1, 1, 0.4, 1, 1])
    shot = [(128 + (textured(2) - 128.0) * each).astype(np.uint8) for each in clear]
    fade = [*mixed(textured(1), black, 20), *[black] * 8, *mixed(black, textured(2), 20)]
    decisions = select(noisy([*[textured(1)] * 75, *fade, *shot], amount=1))
    assert len([each for each in decisions if isinstance(each, Closed)]) == 2


def film(seed: int, seconds: int) -> list[Luma]:
    """Shots of random lengths, with flashes, dissolves, pans and stills."""
    rng = np.random.default_rng(seed)
    frames: list[Luma] = []
    while len(frames) < seconds * RATE:
        index, length = int(rng.integers(1000)), int(rng.integers(5, 150))
        match rng.integers(5):
            case 0:
                frames += [scene(index)] * length
            case 1:
                wide = panorama(64 + 2 * length + 8)
                frames += [wide[:, number : number + 64] for number in range(length)]
            case 2 if frames:
                frames += mixed(frames[-1], scene(index), int(rng.integers(10, 45))) + [scene(index)] * length
            case 3 if frames:
                frames += [np.full((36, 64), 255, np.uint8), frames[-1]] + [frames[-1]] * length
            case _:
                frames += [scene(index)] * length
    return noisy(frames[: seconds * RATE])


@pytest.mark.parametrize("seed", [1, 2])
def test_who_starts_in_the_middle_agrees_from_the_first_scene_after_the_memory(seed: int) -> None:
    frames = film(seed, 50)
    times = even_times(len(frames))
    whole = select(frames, times)
    compared = 0
    for start in range(25, len(frames) - 10 * RATE, 83):
        ready = times[start] + MEMORY
        border = next((each.time for each in whole if isinstance(each, Chosen) and each.time == each.scene >= ready), None)
        if border is None:
            continue
        part = select(frames[start:], times[start:])
        after = [(each.time, each.reason, each.score, each.motion, each.scene) for each in later(whole, border)]
        again = [(each.time, each.reason, each.score, each.motion, each.scene) for each in later(part, border)]
        assert again == after
        compared += len(after)
    assert compared > 40


def later(decisions: Iterable[Chosen[int] | Closed], border: MediaTime) -> list[Chosen[int]]:
    """What is chosen after the scene that begins at `border` was opened, which both must do."""
    assert any(isinstance(each, Chosen) and each.time == each.scene == border for each in decisions)
    return [each for each in decisions if isinstance(each, Chosen) and each.time > border]


def test_after_a_scene_that_begins_anew_nothing_from_before_matters() -> None:
    before, after = scene(5) // 2, scene(5) // 2 + 30
    frames = [before] * (30 * RATE + 2) + [after] * 50 + film(4, 15)
    whole = select(frames, restarts=range(0, 2000, 50))
    assert 30 * RATE + 2 not in chosen(whole, CUT), "too small a step for a cut where there is nothing to compare it with"
    anew = next(each for each in whole if isinstance(each, Chosen) and each.anew and each.payload)
    assert anew.payload == 30 * RATE
    times = even_times(len(frames))
    part = select(frames[anew.payload :], times[anew.payload :])
    assert [(each.time, each.reason, each.score, each.motion) for each in later(part, anew.time)] == [
        (each.time, each.reason, each.score, each.motion) for each in later(whole, anew.time)
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"maximum_gap": ZERO},
        {"longest_scene": MediaTime.of(-1)},
        {"change": 0.0},
        {"change": 1.5},
        {"at_once": 0},
        {"keyframes_a_minute": 0},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        Options(**wrong)  # type: ignore[arg-type]
