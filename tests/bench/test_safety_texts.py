"""The labelled texts of the safety bench, and that nothing harmless of them is withheld."""

from collections import Counter

import pytest
from watchword.v1.safety_pb2 import Action

from bench.safety.data import SPLITS, Labelled, read, wilson
from pipeline.safety.book import FixedBook
from pipeline.safety.judge import Judge
from pipeline.safety.model import NoPictures
from pipeline.safety.policy import Subject
from pipeline.safety.policy_file import read as read_policies

pytestmark = pytest.mark.unit

*KNOWN, TEST = (list(read(path)) for path in SPLITS)
ITEMS = [item for items in KNOWN for item in items]
"""What the rules were made with."""


@pytest.mark.parametrize(("items", "least"), [(ITEMS, 300), (TEST, 150)], ids=["known", "test"])
def test_there_are_enough_of_each_kind(items: list[Labelled], least: int) -> None:
    counts = Counter(policy for item in items for policy in item.policies)
    harmless = sum(not item.policies for item in items)
    assert len(items) >= least
    assert 0.45 < harmless / len(items) < 0.55
    assert set(counts) == {*read_policies().of("").policies} - {"violence-gore"}
    assert min(counts.values()) >= 8


def test_no_text_is_there_twice() -> None:
    assert [text for text, times in Counter(item.text for item in [*ITEMS, *TEST]).items() if times > 1] == []


def test_no_harmless_text_is_withheld_and_hardly_one_is_touched() -> None:
    judge = Judge(NoPictures(), book=FixedBook(read_policies().of("").policies))
    actions = Counter(
        judge.text(item.text, subject=Subject.QUESTION if item.question else Subject.SPEECH).verdict.action
        for item in ITEMS
        if not item.policies
    )
    assert actions[Action.ACTION_BLOCK] == 0
    assert actions.total() - actions[Action.ACTION_ALLOW] <= 6


def test_the_interval_is_wilsons() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-3)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)
