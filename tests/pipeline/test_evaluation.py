"""The evaluation kit: sets are read, answers marked, measures taken, and a report tells what was found."""

import json
from pathlib import Path

import pytest

from pipeline.errors import SettingInvalid
from pipeline.evaluation import measures, report
from pipeline.evaluation.marking import Citation, Given, holds, mark
from pipeline.evaluation.measures import Asked, Share
from pipeline.evaluation.questions import Question, load
from pipeline.evaluation.written import events, without_pictures

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "accepted", "expected"),
    [
        ("At 0:14 someone says “A ticket costs £25.”", "£25", True),
        ("twenty five pounds", "25 pounds", True),
        ("It holds 1,200 people.", "1200", True),
        ("On Mondays it opens.", "Monday", True),
        ("Mr. Hale came.", "Mister Hale", True),
        ("There are 250 of them.", "25", False),
        ("A cup of tea", "tea cup", False),
        ("at Ness's Goddard Space Flight Center in Greenbelt", "NASA's Goddard Space Flight Center in Greenbelt", True),
        ("a space center", "NASA's Goddard Space Flight Center in Greenbelt", False),
        ("", "x", False),
    ],
)
def test_an_accepted_answer_is_found_as_people_write_it(text, accepted, expected):
    assert holds(text, [(accepted,)]) is expected


def test_all_parts_of_an_accepted_answer_are_needed():
    assert holds("Hale and Thornton", [("Hale", "Thornton")])
    assert not holds("Hale alone", [("Hale", "Thornton")])


ASKED = Question("m", "How much is a ticket?", "speech", (("25 pounds",),), ((14.0, 18.0),))
TRAP = Question("m", "How many cats?", "trap", (), ())


def given(text: str, *citations: Citation, supported: bool = True) -> Given:
    return Given(text, supported, citations, 0.8, 0.01, 0.02, 0.03)


def test_an_answer_its_citations_and_times_are_marked():
    right = mark(ASKED, given("25 pounds", Citation("speech", "A ticket costs 25 pounds.", 14.4, 17.9)))
    assert (right.right, right.cited, right.cited_right, right.time_error_s) == (True, 1, 1, 0)
    elsewhere = mark(ASKED, given("25 pounds", Citation("speech", "25 pounds of flour", 40.0, 42.0)))
    assert (elsewhere.right, elsewhere.cited_right, elsewhere.time_error_s) == (True, 0, 22)
    unsaid = mark(ASKED, given("Merely the nearest: 25 pounds", supported=False))
    assert not unsaid.right


def test_a_trap_is_right_when_it_is_not_answered():
    assert mark(TRAP, given("not shown", supported=False)).right
    assert not mark(TRAP, given("60 cats", Citation("speech", "60 cats", 0, 1))).right


def asked(question: Question, answer: Given, **ranks: int | None) -> Asked:
    return Asked(question, answer, mark(question, answer), tuple(ranks.items()))


ROWS = [
    asked(ASKED, given("25 pounds", Citation("speech", "25 pounds", 15, 16)), bm25=None, dense=2),
    asked(ASKED, given("not shown", supported=False), bm25=1, dense=6),
    asked(TRAP, given("not shown", supported=False)),
    asked(TRAP, given("60 cats", Citation("speech", "60 cats", 0, 1))),
]


def test_measures():
    assert measures.accuracy(ROWS) == Share(2, 4)
    assert measures.abstention(ROWS) == measures.Abstention(Share(1, 2), Share(1, 2))
    assert measures.citations(ROWS) == Share(1, 2)
    assert measures.recall_at(ROWS, "bm25") == Share(1, 2)
    assert measures.reciprocal_rank(ROWS, "dense") == pytest.approx((1 / 2 + 1 / 6) / 2)
    assert measures.percentile([3, 1, 2, None], 50) == 2
    assert measures.percentile([1, 2, 3, 4], 95) == 4
    assert measures.percentile([], 50) is None
    assert measures.word_errors(["a", "b", "c", "d"], ["a", "x", "c", "d", "e"]) == (2, 4)
    assert str(Share(0, 0)) == "-"


def test_a_report_tells_everything_and_compares_two_runs():
    found = report.numbers("quoting", ROWS, blind=ROWS[:1], heard=[("m", 2, 100, (1.0, 3.0))], problems=["m: no sound"])
    assert json.loads(json.dumps(found)) == found
    page = report.markdown(found, found)
    for expected in (
        "| speech | 50% (1/2) | 50% (1/2) |",
        "Hallucination against the picture",
        "Small text",
        "Language prior",
        "2% (2/100)",
        "m: no sound",
    ):
        assert expected in page
    drawn = report.charts(found, found)
    assert set(drawn) == {"answers.svg", "retrieval.svg"}
    assert all(svg.startswith("<svg") and svg.count("<rect") > 2 for svg in drawn.values())


def test_an_empty_run_is_reported_too():
    page = report.markdown(report.numbers("quoting", []))
    assert "0 questions" in page


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1"),
        ('{"media": "a", "question": "b"}', "'kind' is missing"),
        ('{"media": "a", "question": "b", "kind": "guess", "accepted": ["x"]}', "none of speech"),
        ('{"media": "a", "question": "b", "kind": "trap", "accepted": ["x"]}', "a trap accepts no answer"),
        ('{"media": "a", "question": "b", "kind": "speech"}', "at least one"),
        ('{"media": "text:a", "moments": [["speech", 1]]}', "line 1"),
        ('{"media": "a"}', "asks nothing"),
    ],
)
def test_a_set_that_is_wrong_is_refused_with_its_line(tmp_path, line, message):
    (tmp_path / "set.jsonl").write_text(line + "\n")
    with pytest.raises(SettingInvalid, match=message):
        load(tmp_path / "set.jsonl")


@pytest.mark.parametrize("name", ["samples/questions.jsonl", "tests/pipeline/questions.jsonl"])
def test_the_sets_that_are_shipped_are_whole(name):
    questions = load(ROOT / name)
    assert len({(each.medium, each.text) for each in questions.questions}) == len(questions.questions)
    for medium in questions.media.values():
        assert medium.moments if medium.path is None else medium.path.is_file()
    for each in questions.questions:
        medium = questions.media[each.medium]
        if medium.moments and each.answerable:
            assert any(holds(text, each.accepted) for _, _, _, text in medium.moments), each.text


def test_written_media_leave_the_events_of_a_recording():
    medium = load(ROOT / "tests/pipeline/questions.jsonl").media["text:cooking stream"]
    kept = list(events(medium, "cooking"))
    kinds = [event.WhichOneof("event") for event in kept]
    assert (kinds.count("segment"), kinds.count("caption")) == (11, 3)
    assert kept[0].segment.is_final
    assert len(kept[0].segment.words) == len(kept[0].segment.text.split())
    assert list(kept[-1].caption.on_screen_text) == ["Thanks for 900 followers!"]
    assert {event.WhichOneof("event") for event in without_pictures(kept)} == {"segment"}
