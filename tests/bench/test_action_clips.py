"""The clips of what people film: what is said to happen in them is to be seen."""

import numpy as np
import pytest

from bench.sampling import actions

pytestmark = pytest.mark.unit


def test_the_same_seed_and_number_tell_the_same_events() -> None:
    one, again, other = (actions.sketch(seed, 2).plan.events for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize("number", [0, 1])
def test_the_picture_changes_while_something_is_done_and_afterwards_what_was_done_is_described(number: int) -> None:
    sketch = actions.sketch(1, number)
    events = sketch.plan.events
    assert events
    assert all(0 <= event.start < event.end <= sketch.plan.seconds for event in events)
    ends = {event.end for event in events if event.kind == "action"}
    assert {event.start for event in events if event.kind == "state"} <= ends
    action = next(event for event in events if event.kind == "action")
    rate = float(sketch.rate)
    at = [int(action.start * rate) - 1, int((action.start + action.end) / 2 * rate)]
    before, amid = (picture.astype(int) for picture in sketch.frames(at))
    assert np.mean(np.abs(amid - before).max(axis=2) > 30) > 0.005
