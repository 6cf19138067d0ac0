"""What a step has taken in of one partition, and from where it goes on after a crash."""

from itertools import count

import pytest

from pipeline.bus import Origin, Position, Progress, StreamProgress
from pipeline.ledger import ENDED_KEPT, STREAMS_KEPT, Admission, Ledger

pytestmark = pytest.mark.unit

PUBLISH = "publish"


def said(position: int, step: str = PUBLISH) -> Origin:
    return Origin(step, Position(position, 0))


def take(ledger: Ledger, stream_id: str, offset: int, *, held: int = 0, step: str = PUBLISH, is_end: bool = False) -> None:
    assert ledger.admit(stream_id, offset, said(offset, step), is_end=is_end) is Admission.TAKE
    ledger.settle(stream_id, offset, held)


class TestPositions:
    def test_a_new_partition_begins_at_its_first_record(self) -> None:
        assert Ledger(Progress()).progress() == Progress(0, {})

    def test_a_record_in_work_is_needed_again(self) -> None:
        ledger = Ledger(Progress())
        ledger.admit("a", 0, said(0), is_end=False)
        assert ledger.progress() == Progress(0, {"a": StreamProgress(0)})

    def test_a_settled_record_that_is_not_held_is_needed_no_more(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "a", 0)
        assert ledger.progress() == Progress(1, {"a": StreamProgress(1, {PUBLISH: Position(0, 0)})})

    def test_held_records_are_needed_again_with_what_was_seen_before_them(self) -> None:
        ledger = Ledger(Progress())
        for offset in range(5):
            take(ledger, "a", offset, held=2)
        assert ledger.progress() == Progress(3, {"a": StreamProgress(3, {PUBLISH: Position(2, 0)})})

    def test_the_oldest_needed_record_of_any_stream_counts_and_the_others_keep_their_own_place(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "slow", 0, held=9)
        take(ledger, "fast", 1)
        take(ledger, "fast", 2)
        progress = ledger.progress()
        assert progress.offset == 0
        assert progress.streams["slow"].needed == 0
        assert progress.streams["fast"] == StreamProgress(3, {PUBLISH: Position(2, 0)})

    def test_what_is_held_may_shrink_and_grow(self) -> None:
        ledger = Ledger(Progress())
        needed = []
        for offset, held in enumerate([1, 2, 3, 0, 1]):
            take(ledger, "a", offset, held=held)
            needed.append(ledger.progress().offset)
        assert needed == [0, 0, 0, 4, 4]

    def test_records_that_wait_are_needed_until_they_are_settled_in_turn(self) -> None:
        ledger = Ledger(Progress())
        ledger.admit("a", 0, said(0), is_end=False)
        ledger.admit("a", 1, said(1), is_end=False)
        assert ledger.progress().offset == 0
        ledger.settle("a", 0, 0)
        assert ledger.progress().offset == 1
        ledger.settle("a", 1, 0)
        assert ledger.progress().offset == 2

    def test_a_refused_record_is_needed_no_more_and_counts_for_no_held_one(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "a", 0, held=1)
        ledger.admit("a", 1, said(1), is_end=False)
        ledger.drop("a", 1)
        assert ledger.progress().offset == 0
        take(ledger, "a", 2, held=1)
        assert ledger.progress().offset == 2

    def test_a_record_of_no_stream_is_passed_over(self) -> None:
        ledger = Ledger(Progress())
        ledger.pass_over(0)
        assert ledger.progress() == Progress(1, {})


class TestReplay:
    def test_what_was_processed_is_skipped_and_the_rest_is_taken(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "slow", 0, held=9)
        take(ledger, "fast", 1)
        ledger.admit("fast", 2, said(2), is_end=False)

        again = Ledger(ledger.progress())
        assert again.admit("slow", 0, said(0), is_end=False) is Admission.TAKE
        assert again.admit("fast", 1, said(1), is_end=False) is Admission.SKIP
        assert again.admit("fast", 2, said(2), is_end=False) is Admission.TAKE

    def test_held_records_are_not_taken_for_duplicates(self) -> None:
        ledger = Ledger(Progress())
        for offset in range(4):
            take(ledger, "a", offset, held=3)
        again = Ledger(ledger.progress())
        assert [again.admit("a", offset, said(offset), is_end=False) for offset in range(1, 5)] == [Admission.TAKE] * 4

    def test_a_restart_at_any_point_needs_what_the_run_without_one_needs(self) -> None:
        records = [("a", 0), ("b", 1), ("a", 2), ("a", 3), ("b", 4), ("a", 5)]
        whole = Ledger(Progress())
        for stream_id, offset in records:
            take(whole, stream_id, offset, held=2)
        for crash_after in range(len(records) + 1):
            first = Ledger(Progress())
            for stream_id, offset in records[:crash_after]:
                take(first, stream_id, offset, held=2)
            second = Ledger(first.progress())
            for stream_id, offset in records[first.progress().offset :]:
                if second.admit(stream_id, offset, said(offset), is_end=False) is Admission.TAKE:
                    second.settle(stream_id, offset, 2)
            assert second.progress() == whole.progress(), f"restarted after {crash_after} records"


class TestDuplicates:
    def test_a_repeated_position_is_a_duplicate(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "a", 0)
        assert ledger.admit("a", 1, said(0), is_end=False) is Admission.DUPLICATE
        assert ledger.progress().offset == 2

    def test_an_earlier_position_is_one_too(self) -> None:
        ledger = Ledger(Progress())
        ledger.admit("a", 0, Origin("sample", Position(7, 2)), is_end=False)
        assert ledger.admit("a", 1, Origin("sample", Position(7, 1)), is_end=False) is Admission.DUPLICATE
        assert ledger.admit("a", 2, Origin("sample", Position(7, 3)), is_end=False) is Admission.TAKE

    def test_each_step_and_each_stream_has_its_own_positions(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "a", 0, step="caption")
        assert ledger.admit("a", 1, said(0, "transcribe"), is_end=False) is Admission.TAKE
        assert ledger.admit("b", 2, said(0, "caption"), is_end=False) is Admission.TAKE

    def test_a_publisher_that_connects_again_starts_a_new_epoch(self) -> None:
        ledger = Ledger(Progress())
        ledger.admit("a", 0, Origin(PUBLISH, Position(1_000, 41)), is_end=False)
        assert ledger.admit("a", 1, Origin(PUBLISH, Position(2_000, 0)), is_end=False) is Admission.TAKE
        assert ledger.admit("a", 2, Origin(PUBLISH, Position(1_000, 42)), is_end=False) is Admission.DUPLICATE

    def test_duplicates_are_known_after_a_restart(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "a", 0)
        again = Ledger(ledger.progress())
        assert again.admit("a", 1, said(0), is_end=False) is Admission.DUPLICATE


class TestEnds:
    def test_what_comes_after_the_end_is_refused(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "a", 0)
        take(ledger, "a", 1, is_end=True)
        ledger.finish("a")
        assert ledger.admit("a", 2, said(2), is_end=False) is Admission.ENDED

    def test_a_repeated_end_is_a_duplicate(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "a", 0, is_end=True)
        assert ledger.admit("a", 1, said(1), is_end=True) is Admission.DUPLICATE

    def test_a_late_repetition_of_what_came_before_the_end_is_a_duplicate(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "a", 0)
        take(ledger, "a", 1, is_end=True)
        assert ledger.admit("a", 2, said(0), is_end=False) is Admission.DUPLICATE

    def test_the_end_is_known_after_a_restart(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "a", 0, is_end=True)
        ledger.finish("a")
        again = Ledger(ledger.progress())
        assert again.is_over("a")
        assert again.admit("a", 1, said(1), is_end=False) is Admission.ENDED

    def test_an_end_in_work_is_taken_again_after_a_restart(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "a", 0, held=1)
        ledger.admit("a", 1, said(1), is_end=True)
        again = Ledger(ledger.progress())
        assert not again.is_over("a")
        assert again.admit("a", 0, said(0), is_end=False) is Admission.TAKE
        assert again.admit("a", 1, said(1), is_end=True) is Admission.TAKE

    def test_a_finished_stream_holds_nothing_back(self) -> None:
        ledger = Ledger(Progress())
        take(ledger, "a", 0, held=5)
        take(ledger, "a", 1, held=5, is_end=True)
        ledger.finish("a")
        assert ledger.progress().offset == 2

    def test_a_topic_of_several_writers_is_over_when_each_has_ended_it(self) -> None:
        ledger = Ledger(Progress(), frozenset({"speech", "pictures"}))
        take(ledger, "a", 0, step="speech", is_end=True)
        assert not ledger.is_over("a")
        assert ledger.admit("a", 1, said(1, "speech"), is_end=False) is Admission.ENDED
        take(ledger, "a", 2, step="pictures")
        take(ledger, "a", 3, step="pictures", is_end=True)
        assert ledger.is_over("a")

    def test_of_several_ends_only_the_last_that_was_admitted_ends_the_stream(self) -> None:
        """Records are admitted ahead of the work: what lies between the ends is still to be done when the first one is."""
        ledger = Ledger(Progress(), frozenset({"speech", "pictures"}))
        for offset, (step, is_end) in enumerate([("speech", True), ("pictures", False), ("pictures", True)]):
            assert ledger.admit("a", offset, said(offset, step), is_end=is_end) is Admission.TAKE
        assert ledger.is_over("a")
        assert [ledger.is_last("a", offset) for offset in range(3)] == [False, False, True]

    def test_which_writers_have_ended_is_known_after_a_restart(self) -> None:
        writers = frozenset({"speech", "pictures"})
        ledger = Ledger(Progress(), writers)
        take(ledger, "a", 0, step="speech", is_end=True)
        again = Ledger(ledger.progress(), writers)
        assert not again.is_over("a")
        take(again, "a", 1, step="pictures", is_end=True)
        assert again.is_over("a")

    def test_a_stream_that_only_began_is_not_over(self) -> None:
        ledger = Ledger(Progress(), frozenset({"speech"}))
        take(ledger, "a", 0, step="speech")
        assert not ledger.is_over("a")


class TestBounds:
    def test_only_the_latest_ended_streams_are_remembered(self) -> None:
        ledger, offsets = Ledger(Progress()), count()
        for number in range(ENDED_KEPT + 1):
            take(ledger, f"stream-{number}", next(offsets), is_end=True)
            ledger.finish(f"stream-{number}")
        assert ledger.admit("stream-1", next(offsets), said(99), is_end=False) is Admission.ENDED
        assert ledger.admit("stream-0", next(offsets), said(99), is_end=False) is Admission.TAKE
        assert len(ledger.progress().streams) == ENDED_KEPT + 1

    def test_the_stream_that_was_silent_longest_is_forgotten_first(self) -> None:
        ledger = Ledger(Progress())
        for number in range(STREAMS_KEPT):
            take(ledger, f"stream-{number}", number)
        take(ledger, "stream-0", STREAMS_KEPT)
        take(ledger, "one-more", STREAMS_KEPT + 1)
        kept = ledger.progress().streams
        assert len(kept) == STREAMS_KEPT
        assert "stream-1" not in kept
        assert {"stream-0", "one-more"} <= kept.keys()

    def test_a_silent_stream_may_be_let_go_after_it_was_forgotten(self) -> None:
        ledger = Ledger(Progress())
        for number in range(STREAMS_KEPT + 1):
            take(ledger, f"stream-{number}", number)
        ledger.release("stream-0")
        assert "stream-0" not in ledger.progress().streams

    def test_a_stream_that_holds_records_is_never_forgotten(self) -> None:
        ledger = Ledger(Progress())
        for number in range(STREAMS_KEPT + 10):
            take(ledger, f"stream-{number}", number, held=1)
        assert len(ledger.progress().streams) == STREAMS_KEPT + 10
        assert ledger.progress().offset == 0
