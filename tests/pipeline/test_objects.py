"""Questions about things in the pictures, asked of a memory that was filled with captions as a stream brings them."""

import asyncio
from collections.abc import Sequence

import pytest
from watchword.v1.answer_pb2 import Answer
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.safety_pb2 import Withheld
from watchword.v1.scene_pb2 import Keyframe, SceneCaption, SeenObject
from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.stage import Index
from pipeline.memory.store import Kind, Span
from pipeline.qa.extractive import ExtractiveAnswerer
from pipeline.qa.objects import NEAR, Ask, asked, labels_of
from pipeline.qa.standing import Alert, Watch, stand
from pipeline.qa.watching import Watcher
from pipeline.sample.options import Options
from pipeline.timeline import MediaTime
from tests.fakes import ScriptedEmbedder

pytestmark = pytest.mark.connected

LEFT, MIDDLE, RIGHT = 0.1, 0.5, 0.9


def thing(label: str, at: float, x: float = MIDDLE, *, score: float = 0.7, colour: str = "", rival: str = "") -> SeenObject:
    box = {"left": x - 0.05, "right": x + 0.05, "top": 0.2, "bottom": 0.8}
    return SeenObject(
        keyframe_id=f"k{at}", media_time=MediaTime.of(at).to_proto(), label=label, score=score, colour=colour, rival=rival, **box
    )


def scene(start: float, end: float, *seen: SeenObject, text: str = "Tags: mostly grey; little movement.") -> ClearedEvent:
    times = {"media_start": MediaTime.of(start).to_proto(), "media_end": MediaTime.of(end).to_proto()}
    return ClearedEvent(caption=SceneCaption(stream_id="s", id=f"scene-{start}", text=text, model="tags", revision=1, seen=seen, **times))


def searched(event: ClearedEvent, *times: float) -> ClearedEvent:
    """With keyframes at these times, all of which a detector has looked at."""
    for at in times:
        event.caption.keyframes.append(Keyframe(id=f"k{at}", media_time=MediaTime.of(at).to_proto()))
        event.caption.searched.append(f"k{at}")
    return event


STREAM = (
    scene(
        0,
        30,
        *(thing("bottle", at, x) for at in (0, 6) for x in (LEFT, MIDDLE, RIGHT)),
        *(thing("bottle", 9, x) for x in (MIDDLE, RIGHT)),
        thing("bottle", 20, RIGHT),
        thing("cup", 20, LEFT, colour="blue"),
        thing("dog", 24, LEFT),
    ),
    scene(
        30,
        40,
        thing("person", 31, LEFT),
        thing("person", 31, RIGHT),
        thing("truck", 33, RIGHT, colour="red"),
        thing("frisbee", 35, rival="sports ball", colour="white"),
    ),
    ClearedEvent(
        segment=TranscriptSegment(
            stream_id="s",
            id="segment-1",
            is_final=True,
            text="The truck is in the garage.",
            media_start=MediaTime.of(36).to_proto(),
            media_end=MediaTime.of(38).to_proto(),
        )
    ),
)


def ask_all(questions: Sequence[str], events: Sequence[ClearedEvent] = STREAM, span: Span | None = None) -> dict[str, Answer]:
    async def run() -> dict[str, Answer]:
        store, embedder = SqliteStore(":memory:"), ScriptedEmbedder()
        index = Index("s", store, embedder)
        for event in events:
            async for _ in index.process(event):
                raise AssertionError("the index says nothing")
        answerer = ExtractiveAnswerer(store, embedder)
        found = {}
        for question in questions:
            async for part in answerer.ask("s", question, span):
                if isinstance(part, Answer):
                    found[question] = part
        await store.close()
        return found

    return asyncio.run(run())


ANSWERED = {
    "How many bottles are there at the start?": "At 0:00 the picture shows “three bottles (left, centre, right)”.",
    "How many bottles stand there at 10 s?": "At 0:09 the picture shows “two bottles (centre, right)”.",
    "How many bottles are there at 0:20?": "At 0:20 the picture shows “one bottle (right)”.",
    "How many bottles can you see?": "At 0:00 the picture shows “three bottles (left, centre, right)”.",
    "How many people are in the picture?": "At 0:31 the picture shows “two people (left, right)”.",
    "Is there a dog?": "At 0:24 the picture shows “a dog (left)”.",
    "Can you see a lorry?": "At 0:33 the picture shows “a red truck (right)”.",
    "Are there any animals in the video?": "At 0:24 the picture shows “a dog (left)”.",
    "What colour is the mug?": "At 0:20 the picture shows “a blue cup (left)”.",
    "What colour is the ball?": "At 0:35 the picture shows “a white frisbee or ball (centre)”.",
    "When does a truck appear?": "At 0:33 the picture shows “a red truck (right)”.",
    "Which vehicles are visible?": "At 0:33 the picture shows “a red truck (right)”.",
    "What is on the left at 20 s?": "At 0:20 the picture shows “a blue cup (left)”.",
    "What can you see on the right of the picture at 0:33?": "At 0:33 the picture shows “a red truck (right)”.",
    "Where is the dog?": "At 0:24 the picture shows “a dog (left)”.",
}
UNANSWERED = (
    "How many cats are there?",
    "Is there a cat?",
    "How many women are there?",
    "How many people are sitting?",
    "How many dogs are in the garden?",
    "How many bottles are there at 35 s?",
    "What colour is the bottle?",
    "What colour is the car?",
    "When does a bus appear?",
    "What is in the middle at 0:20?",
    "How many people live in the town?",
)


def test_things_that_were_seen_are_counted_placed_and_dated() -> None:
    answers = ask_all([*ANSWERED, *UNANSWERED])
    assert {question: answers[question].text for question in ANSWERED} == ANSWERED
    assert {answers[question].evidence[0].source_id for question in ANSWERED} == {"scene-0", "scene-30"}


def test_what_was_not_seen_or_cannot_be_told_is_not_shown() -> None:
    answers = ask_all(UNANSWERED)
    assert not [question for question in UNANSWERED if answers[question].supported]


def test_what_two_keyframes_show_is_not_claimed_of_one_between_them_that_does_not() -> None:
    event = searched(scene(0, 30, thing("bottle", 0, LEFT), thing("bottle", 20, LEFT)), 0, 5, 10, 15, 20)
    answers = ask_all(["Is there a bottle at 10 s?", "Is there a bottle at 4 s?", "Is there a bottle at 18 s?"], (event,))
    assert [answer.supported for answer in answers.values()] == [False, False, True]


def test_what_a_later_caption_no_longer_shows_is_forgotten() -> None:
    before = searched(scene(0, 10, thing("knife", 1)), 1)
    after = searched(scene(0, 10), 1)
    after.caption.revision = 2
    assert ask_all(["Is there a knife?"], (before,))["Is there a knife?"].supported
    assert not ask_all(["Is there a knife?"], (before, after))["Is there a knife?"].supported


MOVED = (scene(0, 60, thing("bottle", 41, LEFT), thing("bottle", 45, MIDDLE), thing("bottle", 47, RIGHT)),)


def test_a_point_in_time_is_answered_from_the_keyframe_nearest_to_it() -> None:
    expected = {"Where is the bottle at 42 s?": "left", "Where is the bottle at 45 s?": "centre", "Where is the bottle at 52 s?": "right"}
    answers = ask_all([*expected], MOVED)
    assert {question: answer.text.partition("(")[2].partition(")")[0] for question, answer in answers.items()} == expected


def test_a_range_that_cuts_the_time_around_a_point_does_not_move_the_point() -> None:
    question = "How many bottles are there at 45 s?"
    answers = [ask_all([question], MOVED, Span(MediaTime.of(start), MediaTime.of(60)))[question] for start in (0, 45, 46)]
    assert [answer.evidence[0].media_start.seconds for answer in answers] == [45, 45, 47]


def test_between_two_keyframes_one_is_near_enough_however_far_apart_they_are_sampled() -> None:
    gap = Options().maximum_gap
    assert gap < NEAR + NEAR
    half = f"Is there a bottle at {gap.seconds / 2:g} s?"
    assert ask_all([half], (scene(0, 30, thing("bottle", 0, LEFT), thing("bottle", gap.seconds, RIGHT)),))[half].supported


def test_where_something_is_is_asked_of_words_first() -> None:
    assert "someone says “The truck is in the garage.”" in ask_all(["Where is the truck?"])["Where is the truck?"].text


def test_a_list_of_things_is_no_evidence_for_other_questions() -> None:
    async def run() -> None:
        store, embedder = SqliteStore(":memory:"), ScriptedEmbedder()
        async for _ in Index("s", store, embedder).process(STREAM[0]):
            pass
        kinds = {moment.kind for moment in await store.between("s", Kind.IN_VIEW)}
        found = await store.between("s", Kind.DESCRIPTION)
        await store.close()
        assert kinds == {Kind.IN_VIEW}
        assert [moment.text for moment in found] == ["Tags: mostly grey; little movement."]

    asyncio.run(run())


def test_what_was_counted_outlives_a_better_description_but_not_a_withheld_scene() -> None:
    refined = scene(0, 30, text="Somebody takes bottles from a shelf.")
    refined.caption.revision = 100
    withheld = ClearedEvent(withheld=Withheld(stream_id="s", id="scene-0", kind="scene"))
    question = "How many bottles are there at the start?"
    for order in ((STREAM[0], refined), (refined, STREAM[0]), (STREAM[0], STREAM[0])):
        assert ask_all([question], order)[question].text == ANSWERED[question]
    assert not ask_all([question], (STREAM[0], refined, withheld))[question].supported


def alerts_of(query: str, events: Sequence[ClearedEvent] = STREAM) -> list[Alert]:
    async def run() -> list[Alert]:
        told: list[Alert] = []
        watcher = Watcher(ScriptedEmbedder())
        watcher.add(Watch(stand(query)), told.append)
        for event in events:
            await watcher.take(event)
        return told

    return asyncio.run(run())


@pytest.mark.parametrize("what", ["truck", "lorry", "vehicle"])
def test_a_standing_query_hears_of_what_comes_into_view(what: str) -> None:
    (alert,) = alerts_of(f"tell me when a {what} appears")
    assert alert.hits[-1].moment.start == MediaTime.of(33)
    assert "At 0:33 the picture shows “a red truck (right)”" in alert.reason


def test_a_standing_query_does_not_take_one_thing_or_number_for_another() -> None:
    assert alerts_of("tell me when a bus appears") == []
    assert alerts_of("tell me when there are three people") == []
    (alert,) = alerts_of("tell me when there are two people")
    assert alert.hits[-1].moment.text == "two people (left, right)"


@pytest.mark.parametrize("text", ["", "Tags: a dog (0.80, left); mostly grey."])
def test_what_stands_at_the_left_has_not_left(text: str) -> None:
    assert alerts_of("tell me when the dog left", (scene(0, 5, thing("dog", 1, LEFT), thing("dog", 4, LEFT), text=text),)) == []
    (alert,) = alerts_of("tell me when a dog appears", (scene(0, 5, thing("dog", 1, LEFT), text=""),))
    assert "a dog (left)" in alert.reason


@pytest.mark.parametrize("what", ["a red car appears", "there are two people"])
def test_a_standing_query_does_not_take_what_is_said_of_one_thing_for_another_beside_it(what: str) -> None:
    seen = (thing("bottle", 1, LEFT, colour="red"), thing("bottle", 1, MIDDLE, colour="red"), thing("car", 1), thing("person", 1, RIGHT))
    assert alerts_of(f"tell me when {what}", (scene(0, 5, *seen),)) == []


def test_a_standing_query_hears_of_a_better_description_beside_what_is_in_view() -> None:
    refined = scene(0, 5, text="a man waves a flag")
    refined.caption.revision = 2
    in_view = scene(0, 5, thing("car", 1), text="")
    (alert,) = alerts_of("tell me when a man waves a flag", (in_view, refined))
    assert alert.hits[-1].moment.text == "a man waves a flag"
    (alert,) = alerts_of("tell me when a car appears", (in_view, refined, in_view))
    assert alert.hits[-1].moment.source_id == "scene-0"


@pytest.mark.parametrize(
    ("question", "ask", "label"),
    [
        ("How many people are there?", Ask.COUNT, "person"),
        ("How many people can be seen in this picture?", Ask.COUNT, "person"),
        ("How many dogs do we see here?", Ask.COUNT, "dog"),
        ("Are there any traffic lights?", Ask.WHETHER, "traffic light"),
        ("Is an aeroplane visible in the video?", Ask.WHETHER, "airplane"),
        ("When is a cat first seen?", Ask.WHEN, "cat"),
        ("What color are the wine glasses?", Ask.COLOUR, "wine glass"),
        ("Which animal is shown?", Ask.WHICH, "dog"),
    ],
)
def test_questions_about_things_are_known(question: str, ask: Ask, label: str) -> None:
    read = asked(question)
    assert read is not None
    assert read.ask is ask
    assert label in read.labels


@pytest.mark.parametrize(
    "question",
    [
        "How many kinds of flowers are there?",
        "Can you see the face of the person?",
        "What colour are the bottle caps?",
        "When does the last bus leave?",
        "Where does the cat live?",
        "What animal sits on the branch?",
        "How many different items are shown?",
        "Is there a dog in the garden?",
        "How many dogs do you have?",
        "How many beds does it have?",
        "How many people are not in the picture?",
        "How many people were there before it?",
        "How many people did you have there?",
        "How many people are in our room?",
        "How many people can there be in the room?",
        "",
    ],
)
def test_questions_that_ask_for_more_are_left_to_others(question: str) -> None:
    assert asked(question) is None


def test_names_and_general_words_mean_labels() -> None:
    assert labels_of("mugs") == {"cup"}
    assert labels_of("people") == {"person"}
    assert {"car", "truck", "bicycle"} <= labels_of("vehicles")
    assert "hot dog" not in labels_of("dogs") | labels_of("animals")
    assert labels_of("puppies") == frozenset()
    assert labels_of("animals").isdisjoint({"mouse", "teddy bear", "hot dog"})
    assert "broccoli" in labels_of("vegetables")


def test_a_computer_mouse_is_no_animal() -> None:
    desk = (scene(0, 3, thing("mouse", 1, RIGHT)),)
    questions = ["Which animals are visible?", "Is there an animal?", "Is there a computer mouse?"]
    assert [ask_all([question], desk)[question].supported for question in questions] == [False, False, True]
    assert alerts_of("tell me when an animal appears", desk) == []
    assert len(alerts_of("tell me when a mouse appears", desk)) == 1
