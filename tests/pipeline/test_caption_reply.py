"""What models write about a scene: understood, mended, kept within a style, or refused."""

import asyncio
import json
from typing import Any

import pytest

from pipeline.caption import asking
from pipeline.caption.asking import Say, Written
from pipeline.caption.model import Action, Description, SceneView
from pipeline.caption.reply import LONGEST, MOST, SCHEMA, Act, ReplyBroken, so_far, understood
from pipeline.caption.style import PLAIN, PROMPT_VERSION, Style, instruction, question
from pipeline.errors import SettingInvalid
from pipeline.timeline import MediaTime
from tests.tiny_vlm import shot

pytestmark = pytest.mark.unit

STRUCTURED = Style(structured=True)
WHOLE: dict[str, Any] = {
    "sentence": "A man waves at a door.",
    "detail": "He wears a hat.",
    "objects": ["man", "door"],
    "actions": [{"what": "waves", "start": 1, "end": 2.5}],
    "text": ["EXIT"],
    "people": 1,
    "camera": "still",
    "confidence": 0.8,
}


def read(written: str, style: Style = STRUCTURED, length_s: float = 10) -> Any:
    return understood(written, style, length_s=length_s)


def test_a_whole_reply() -> None:
    reply = read(json.dumps(WHOLE))
    assert reply.sentence == "A man waves at a door."
    assert (reply.detail, reply.objects, reply.text, reply.people, reply.camera, reply.confidence) == (
        "He wears a hat.", ("man", "door"), ("EXIT",), 1, "still", 0.8,
    )  # fmt: skip
    assert reply.actions == (Act("waves", 1, 2.5),)
    assert not reply.mended


def test_the_schema_asks_for_what_is_read() -> None:
    assert set(SCHEMA["properties"]) == set(SCHEMA["required"]) == set(WHOLE)


@pytest.mark.parametrize("cut", range(30, len(json.dumps(WHOLE))))
def test_a_reply_that_is_cut_off_anywhere_behind_the_sentence_keeps_it(cut: int) -> None:
    whole = json.dumps(WHOLE)
    try:
        reply = read(whole[:cut])
    except ReplyBroken:
        # A number or a name that stops in the middle, such as 0. or "nul", cannot be closed.
        assert whole[cut - 1] in ".-" or whole[:cut].endswith(("t", "tr", "n", "nu", "nul"))
        return
    assert WHOLE["sentence"].startswith(reply.sentence)
    assert reply.mended
    assert all(WHOLE[key] == value or WHOLE[key].startswith(value) for key, value in (("detail", reply.detail), ("camera", reply.camera)))


@pytest.mark.parametrize(
    "written",
    [
        'Here it is:\n```json\n{"sentence": "A cat.", "objects": ["cat",],}\n```\nAnything else?',
        '{"sentence": "A cat.", "objects": ["cat", "cat", 3, ""]} {"sentence": "No."}',
        '{"sentence": "A\ncat.", "objects": ["cat"], "mood": "fine"}',
    ],
)
def test_usual_slips_are_mended(written: str) -> None:
    reply = read(written)
    assert reply.sentence in ("A cat.", "A cat.")
    assert reply.objects == ("cat",)
    assert reply.mended


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("people", True, None), ("people", -1, None), ("people", 1.5, None), ("people", "two", None), ("people", 10**9, None),
        ("confidence", 7, None), ("confidence", "high", None), ("confidence", float("nan"), None), ("confidence", 10**400, None),
        ("detail", ["x"], ""), ("objects", "man", ()), ("objects", [{}], ()), ("camera", None, ""),
    ],
)  # fmt: skip
def test_what_breaks_the_schema_is_left_out_and_said(key: str, value: Any, kept: Any) -> None:
    reply = read(json.dumps(WHOLE | {key: value}))
    assert getattr(reply, key) == kept
    assert reply.sentence == WHOLE["sentence"]
    assert reply.mended


@pytest.mark.parametrize(
    "times",
    [
        {}, {"start": 3, "end": 1}, {"start": -5, "end": 1},
        {"start": 1, "end": 900}, {"start": 0, "end": 10**400}, {"start": "x", "end": 2},
    ],
)  # fmt: skip
def test_an_action_without_a_time_in_the_scene_takes_all_of_it(times: dict[str, Any]) -> None:
    reply = read(json.dumps(WHOLE | {"actions": [{"what": "waves"} | times, {"when": 1}]}))
    assert reply.actions == (Act("waves", 0, 10),)
    assert len(reply.mended) == 2


def test_everything_is_bounded() -> None:
    long = {
        "sentence": "a " * 9_000,
        "detail": "b" * 9_000,
        "objects": [f"{n:02}" * 200 for n in range(99)],
        "actions": [],
        "text": ["c"] * 99,
    }
    reply = read(json.dumps(WHOLE | long))
    assert len(reply.sentence) <= LONGEST["sentence"]
    assert len(reply.detail) == LONGEST["detail"]
    assert len(reply.objects) == MOST["objects"]
    assert all(len(each) <= LONGEST["objects"] for each in reply.objects)
    with pytest.raises(ReplyBroken):
        read("{" * 100_000)


@pytest.mark.parametrize("written", ["", "nothing", "{}", '{"sentence": ""}', '{"sentence": 3}', "[1, 2]", '{"sen', '{"sentence": "\x1b"}'])
def test_without_a_sentence_there_is_no_reply_and_nothing_is_quoted(written: str) -> None:
    with pytest.raises(ReplyBroken) as broken:
        read(written)
    assert not written or written not in str(broken.value)


def test_a_plain_reply_is_on_one_line_and_obeys_no_terminal() -> None:
    assert read("\x1b[2JA cat.\nIt sleeps.", PLAIN).sentence == "[2JA cat. It sleeps."
    with pytest.raises(ReplyBroken):
        read(" \n ", PLAIN)


def test_forbidden_words_are_left_out_whatever_their_case() -> None:
    style = Style(structured=True, forbidden=("hat", "big door", "c++"))
    reply = read(json.dumps(WHOLE | {"sentence": "A HAT, hats and a Big Door.", "objects": ["hat", "man"], "camera": "C++ pan"}), style)
    assert reply.sentence == "A, hats and a."
    assert (reply.detail, reply.objects, reply.camera) == ("He wears a.", ("man",), "pan")
    assert reply.mended == ("words had to be left out to keep to the style",)
    with pytest.raises(ReplyBroken, match="forbidden"):
        read("Hat!", Style(forbidden=("hat",)))


def test_a_sentence_is_as_long_as_it_may_be() -> None:
    assert read("One two, three four.", Style(words=2)).sentence == "One two …"
    assert read("One two.", Style(words=2)).sentence == "One two."


@pytest.mark.parametrize(
    ("written", "shown"),
    [("A c", "A c"), ('{"sen', ""), ('{"sentence": "A c', "A c"), ('```json\n{"sentence":"A \\"c\\', 'A "c'), ('{"detail": "x', "")],
)
def test_a_sentence_is_shown_while_it_is_written(written: str, shown: str) -> None:
    assert so_far(written) == shown


def test_a_style_is_asked_for_in_words() -> None:
    assert instruction(PLAIN) == ""
    style = Style(True, "It is a harbour.", "calm", "de", 20, ("boat",))
    asked = instruction(style)
    for told in ("It is a harbour.", "voice: calm", "language de", "at most 20 words", "these words: boat", '"confidence"'):
        assert told in asked
    assert instruction(style) == asked
    assert "before" in question(PLAIN, ["A man came in."])
    assert "A man came in." in question(style, ["A man came in."])


@pytest.mark.parametrize(
    "wrong", [{"words": -1}, {"words": 9_999}, {"prompt": "x" * 3_000}, {"forbidden": ("a",) * 101}, {"forbidden": (" ",)}]
)
def test_a_style_that_is_too_much_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingInvalid):
        Style(**wrong)


# Asking.


class Model:
    """Writes the next line of its script."""

    def __init__(self, *script: str) -> None:
        self.asked: list[SceneView] = []
        self._script = list(script)

    async def __call__(self, scene: SceneView, say: Say | None) -> Written:
        self.asked.append(scene)
        line = self._script.pop(0)
        for end in range(1, len(line) + 1):
            if say:
                say(line[:end])
                await asyncio.sleep(0)
        return Written(line, confidence=0.3)


SCENE = SceneView(MediaTime.of(100), MediaTime.of(110), (shot(101), shot(104)), STRUCTURED)


def described(*script: str, scene: SceneView = SCENE) -> tuple[Description, Model]:
    model = Model(*script)
    return asyncio.run(asking.describe(scene, model)), model


def test_times_of_actions_are_the_streams() -> None:
    description, _ = described(json.dumps(WHOLE))
    assert description.actions == (Action("waves", MediaTime.of(102), MediaTime.of(103.5)),)
    assert (description.confidence, description.prompt, description.remark) == (0.8, PROMPT_VERSION, "")


def test_broken_json_is_asked_for_again_as_a_sentence_and_that_is_said() -> None:
    description, model = described("I cannot.", "A man waves.")
    assert description.text == "A man waves."
    assert description.confidence == 0.3
    assert "no JSON object" in description.remark
    assert [scene.style.structured for scene in model.asked] == [True, False]


def test_a_model_that_writes_nothing_twice_describes_nothing() -> None:
    description, model = described("{", " ")
    assert description.text == ""
    assert description.remark
    assert len(model.asked) == 2


def test_what_was_mended_is_said() -> None:
    assert "closed" in described('{"sentence": "A man')[0].remark


def test_a_sentence_is_told_while_it_is_written_and_closing_stops_the_asking() -> None:
    async def all_of() -> list[str | Description]:
        return [part async for part in asking.tell(SCENE, Model(json.dumps(WHOLE)))]

    *parts, last = asyncio.run(all_of())
    assert isinstance(last, Description)
    assert parts[0] == "A"
    assert parts[-1] == last.text == "A man waves at a door."
    assert len(parts) > 5

    async def first() -> bool:
        left = asyncio.Event()

        async def endless(_: SceneView, say: Say | None) -> Written:
            try:
                assert say
                say("A")
                await asyncio.Event().wait()
            finally:
                left.set()
            raise AssertionError

        told = asking.tell(SCENE, endless)
        assert await anext(told) == "A"
        await told.aclose()
        return left.is_set()

    assert asyncio.run(first())
