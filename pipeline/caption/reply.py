"""What a model wrote, understood: a sentence, or a JSON object with the details of a scene, checked and where need be mended.

Models wrap JSON into fences and words, leave the last brackets out when they are cut off, and put commas where none belong. These are
mended; what then breaks the schema is dropped field by field. Without a sentence there is no reply.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.caption.style import Style

MOST = {"objects": 12, "actions": 8, "text": 20}
LONGEST = {"sentence": 600, "detail": 2_000, "objects": 80, "what": 200, "text": 200, "camera": 80}
MOST_PEOPLE = 10_000

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "sentence": {"type": "string", "minLength": 1, "maxLength": LONGEST["sentence"]},
        "detail": {"type": "string", "maxLength": LONGEST["detail"]},
        "objects": {"type": "array", "items": {"type": "string"}, "maxItems": MOST["objects"]},
        "actions": {
            "type": "array",
            "maxItems": MOST["actions"],
            "items": {
                "type": "object",
                "properties": {"what": {"type": "string"}, "start": {"type": "number"}, "end": {"type": "number"}},
                "required": ["what", "start", "end"],
                "additionalProperties": False,
            },
        },
        "text": {"type": "array", "items": {"type": "string"}, "maxItems": MOST["text"]},
        "people": {"type": ["integer", "null"]},
        "camera": {"type": "string"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["sentence", "detail", "objects", "actions", "text", "people", "camera", "confidence"],
    "additionalProperties": False,
}
"""JSON Schema of a structured reply, for servers that can hold a model to one."""


@dataclass(frozen=True)
class Act:
    """Something that happens; times in seconds from the scene's first keyframe."""

    what: str
    start: float
    end: float


@dataclass(frozen=True)
class Reply:
    """A scene as a model put it."""

    sentence: str
    detail: str = ""
    objects: tuple[str, ...] = ()
    actions: tuple[Act, ...] = ()
    text: tuple[str, ...] = ()
    people: int | None = None
    camera: str = ""
    confidence: float | None = None
    mended: tuple[str, ...] = field(default=(), compare=False)
    """What was wrong with the reply and was put right or dropped."""


class ReplyBroken(Exception):
    """A reply that cannot be understood; the message says why, and quotes nothing: nobody has judged the reply."""


def understood(written: str, style: Style, *, length_s: float) -> Reply:
    """The reply to a question in this style about a scene of this length; raises `ReplyBroken`."""
    reply = _structured(written, length_s) if style.structured else Reply(tidy(written)[: LONGEST["sentence"]])
    if not reply.sentence:
        raise ReplyBroken("it holds no sentence")
    return _styled(reply, style)


_HALF_PAIR = re.compile(r'(?:,\s*(?:"[^"]*"\s*:?\s*)?|(?<=\{)\s*"[^"]*"\s*:?\s*)$')
"""At the end of an object: a comma, a key, or a key and its colon, without a value."""


def so_far(written: str) -> str:
    """The sentence as far as it is written, plain or as the beginning of a JSON object; may be empty."""
    if not written.lstrip("`json \n").startswith("{"):
        return tidy(written)[: LONGEST["sentence"]]
    found = re.search(r'"sentence"\s*:\s*"((?:[^"\\]|\\.)*)', written)
    if not found:
        return ""
    try:
        return tidy(str(json.loads(f'"{found[1]}"', strict=False)))
    except ValueError:
        return ""


def tidy(text: str) -> str:
    """The text on one line; a terminal would obey control characters."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def loads(written: str) -> Mapping[str, Any]:
    """The JSON object in what was written, mended; raises `ReplyBroken`."""
    start = written.find("{")
    if start < 0:
        raise ReplyBroken("there is no JSON object in it")
    for candidate in (_to_brace(written[start:]), _closed(written[start:])):
        try:
            found = json.loads(re.sub(r",(\s*[}\]])", r"\1", candidate), strict=False)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    raise ReplyBroken("its JSON object cannot be read")


def _structured(written: str, length_s: float) -> Reply:
    found = loads(written)
    wrong: list[str] = [] if _is_json(written) else ["the object had to be cut out or closed"]
    wrong += ["it has keys that are not known"] if set(found) - set(SCHEMA["properties"]) else []

    def text_of(key: str) -> str:
        value = found.get(key, "")
        if not isinstance(value, str):
            wrong.append(f"{key} is no text")
            return ""
        return tidy(value)[: LONGEST[key]]

    def list_of(key: str) -> Sequence[Any]:
        value = found.get(key, [])
        if not isinstance(value, list):
            wrong.append(f"{key} is no list")
            return []
        return value[: MOST[key]]

    def texts_of(key: str) -> tuple[str, ...]:
        values = list_of(key)
        if any(not isinstance(value, str) for value in values):
            wrong.append(f"{key} holds what is no text")
        told = (tidy(value)[: LONGEST[key]] for value in values if isinstance(value, str))
        return tuple(dict.fromkeys(each for each in told if each))

    people = found.get("people")
    if people is not None and (isinstance(people, bool) or not isinstance(people, int) or not 0 <= people <= MOST_PEOPLE):
        wrong.append("people is no number of people")
        people = None
    confidence = _number(found.get("confidence"))
    if found.get("confidence") is not None and (confidence is None or not 0 <= confidence <= 1):
        wrong.append("confidence is not from 0 to 1")
        confidence = None
    actions = tuple(act for each in list_of("actions") if (act := _act(each, length_s, wrong)))
    return Reply(
        text_of("sentence"), text_of("detail"), texts_of("objects"), actions, texts_of("text"), people, text_of("camera"), confidence,
        tuple(dict.fromkeys(wrong)),
    )  # fmt: skip


def _act(told: Any, length_s: float, wrong: list[str]) -> Act | None:
    if not isinstance(told, dict) or not isinstance(told.get("what"), str) or not tidy(told["what"]):
        wrong.append("an action does not say what happens")
        return None
    start, end = _number(told.get("start")), _number(told.get("end"))
    if start is None or end is None or end < start or start < 0 or end > length_s + 1:
        wrong.append("an action has no time within the scene")
        start, end = 0.0, length_s
    return Act(tidy(told["what"])[: LONGEST["what"]], min(start, length_s), min(end, length_s))


def _number(value: Any) -> float | None:
    """A JSON number as a float; `None` for anything else, and for one that is beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _styled(reply: Reply, style: Style) -> Reply:
    """The reply within what the style allows."""
    found = reply
    if style.forbidden:
        alternatives = sorted((re.escape(word.strip()) for word in style.forbidden), key=len, reverse=True)
        pattern = re.compile(rf"(?<!\w)(?:{'|'.join(alternatives)})(?!\w)", re.IGNORECASE)

        def clean(text: str) -> str:
            return re.sub(r"\s+([,.;:!?])", r"\1", tidy(pattern.sub("", text)))

        found = replace(
            found,
            sentence=clean(found.sentence),
            detail=clean(found.detail),
            objects=tuple(each for each in map(clean, found.objects) if each),
            actions=tuple(replace(act, what=clean(act.what)) for act in found.actions if clean(act.what)),
            camera=clean(found.camera),
        )
    words = found.sentence.split()
    if style.words and len(words) > style.words:
        found = replace(found, sentence=" ".join(words[: style.words]).rstrip(",;:") + " …")
    if found != reply:
        found = replace(found, mended=(*reply.mended, "words had to be left out to keep to the style"))
    if not found.sentence.strip(" .,;:!?…"):
        raise ReplyBroken("nothing is left of it without the forbidden words")
    return found


def _is_json(written: str) -> bool:
    try:
        return isinstance(json.loads(written), dict)
    except (ValueError, RecursionError):
        return False


def _to_brace(text: str) -> str:
    """From the first brace to the one that closes it, or all."""
    stack = _open(text)
    return text[: stack[0]] if isinstance(stack[0], int) else text


def _closed(text: str) -> str:
    """What was cut off, closed: an open string, then all brackets that are open; a key or comma without a value goes."""
    _, stack, in_string = _open(text)
    text = text + '"' if in_string else text
    text = _HALF_PAIR.sub("", text) if stack and stack[-1] == "}" else text.rstrip(", \n")
    return text + "".join(reversed(stack))


def _open(text: str) -> tuple[int | None, list[str], bool]:
    """Where the first object ends, if it does; else the brackets that are open at the end, and whether a string is."""
    stack: list[str] = []
    in_string = escaped = False
    for index, each in enumerate(text):
        if in_string:
            in_string = each != '"' or escaped
            escaped = each == "\\" and not escaped
        elif each == '"':
            in_string = True
        elif each in "{[":
            stack.append("}" if each == "{" else "]")
        elif each in "}]" and stack:
            stack.pop()
            if not stack:
                return index + 1, [], False
    return None, stack, in_string
