"""Which frames are chosen and where scenes begin, told with thumbnails drawn for the purpose."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from watchword.v1 import scene_pb2

from pipeline.sample.select import DEFAULTS, MEMORY, Chosen, Closed, Options, Selector
from pipeline.timeline import ZERO, MediaTime

pytestmark = pytest.mark.unit

FIRST = scene_pb2.KEYFRAME_REASON_FIRST
CUT = scene_pb2.KEYFRAME_REASON_CUT
CHANGE = scene_pb2.KEYFRAME_REASON_CHANGE
INTERVAL = scene_pb2.KEYFRAME_REASON_INTERVAL
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
    assert len(chosen(decisions, CHANGE)) >= 3
    assert len([each for each in decisions if isinstance(each, Closed)]) == 1


def test_a_cut_stands_out_of_a_pan() -> None:
    wide = panorama()
    pan = [wide[:, 2 * number : 2 * number + 64] for number in range(100)]
    assert chosen(select(noisy([*pan, *[scene(2)] * 30])), CUT) == [100]


@pytest.mark.parametrize("length", [12, 25, 50])
def test_a_dissolve_is_noticed_on_the_way_and_opens_a_scene_when_it_is_done(length: int) -> None:
    frames = noisy([scene(1)] * 75 + mixed(scene(1), scene(2), length) + [scene(2)] * 75)
    decisions = select(frames)
    assert chosen(decisions, CUT) == []
    changes = chosen(decisions, CHANGE)
    assert changes[0] <= 75 + max(length, 12)
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
    decisions = select([scene(1)] * (16 * RATE))
    assert [(each.reason, each.time.seconds, each.score, each.motion) for each in decisions if isinstance(each, Chosen)] == [
        (FIRST, 0.0, 1.0, 0.0),
        (INTERVAL, 5.0, 0.0, 0.0),
        (INTERVAL, 10.0, 0.0, 0.0),
        (INTERVAL, 15.0, 0.0, 0.0),
    ]


def test_cuts_have_no_budget() -> None:
    shots = [frame for index in range(40) for frame in [scene(index)] * 8]
    assert chosen(select(noisy(shots)), CUT) == list(range(8, 320, 8))


def test_a_scene_in_steady_change_yields_no_more_than_its_budget() -> None:
    wide = panorama(2000)
    decisions = select(noisy([wide[:, 3 * number : 3 * number + 64] for number in range(600)]))
    assert len([each for each in decisions if isinstance(each, Closed)]) == 1
    assert 10 <= len(chosen(decisions, CHANGE)) <= 4 + 24 / 2


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
    [{"maximum_gap": ZERO}, {"longest_scene": MediaTime.of(-1)}, {"change": 0.0}, {"change": 1.5}, {"at_once": 0}, {"keyframes_a_minute": 0}],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        Options(**wrong)  # type: ignore[arg-type]
