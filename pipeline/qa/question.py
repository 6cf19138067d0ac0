"""What a question asks for: its words, where the answer stands, and what an answer must contain."""

import re
from dataclasses import dataclass
from enum import Enum

from pipeline.memory.store import Kind
from pipeline.qa.numbers import NUMERALS
from pipeline.qa.words import FUNCTION_WORDS, content, stem, tokens, word_list


class Want(Enum):
    """What a text must contain to be an answer."""

    COLOUR = "a colour"
    TIME = "a time or date"
    MONEY = "a price"
    DURATION = "a length of time"
    AGE = "an age"
    LENGTH = "a length"
    DEGREES = "a temperature"
    SPEED = "a speed"
    NUMBER = "a number"
    PERSON = "a person"
    NAME = "a name"
    PLACE = "a place"
    REASON = "a reason"


HINTS = {
    Kind.SPEECH: (
        "say says said saying tell tells told talk talks talked speak speaks spoke speaker mention mentions mentioned hear heard narrator "
        "narration commentator passage according"
    ),
    Kind.DESCRIPTION: ("see sees seen show shows shown showed picture pictured image visible scene"),
    Kind.ON_SCREEN_TEXT: "read reads written write writes sign slide screen text caption label board poster title headline",
}
BY_HINT = {word: kind for kind, words in HINTS.items() for word in word_list(words)}


def kinds(text: str) -> frozenset[Kind]:
    """Where a question's wording says that the answer stands; a sign "says" something in letters, not in speech."""
    found = {BY_HINT[word] for word in tokens(text) if word in BY_HINT}
    if Kind.ON_SCREEN_TEXT in found:
        found.discard(Kind.SPEECH)
    return frozenset(found)


NUMBER = rf"(?:\d[\d.,:]*|{'|'.join(sorted(NUMERALS, key=lambda word: (-len(word), word)))}|half|none)"
DAY_OR_MONTH = (
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|march|april|may|june|july|august|september|october|november|december"
)
LONGER = r"(?:seconds?|minutes?|min|hours?|days?|nights?|weeks?|months?|years?|decades?|centuries|century)"
COLOURS = word_list(
    "red orange yellow green blue purple violet pink brown black white grey gray silver gold golden beige turquoise dark light bright "
    "colourful colorful"
)
ROLES = word_list(
    "man woman boy girl child person people mother father brother sister cousin grandmother grandfather uncle aunt friend guide farmer "
    "captain doctor teacher professor director president mayor minister baker coach player actor artist author king queen neighbour"
)
NOT_NAMES = word_list(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september october "
    "november december"
)


@dataclass(frozen=True)
class Ask:
    """How a want is asked for and met."""

    want: Want
    sounds: re.Pattern[str]
    """What the question says in small letters."""
    has: re.Pattern[str]
    """What an answer contains."""
    asking: frozenset[str]
    """Words of the question that only ask for it and need not stand in the answer."""


def _ask(want: Want, sounds: str, has: str, asking: str = "") -> Ask:
    return Ask(want, re.compile(sounds), re.compile(has, re.IGNORECASE), word_list(asking))


ASKS = (
    _ask(
        Want.COLOUR,
        r"\b(?:what|which) colou?rs?\b|\bthe colou?rs? of\b|\bcolou?r is\b",
        rf"\b(?:{'|'.join(sorted(COLOURS))})\b",
        "colour colours color colors",
    ),
    _ask(
        Want.TIME,
        r"\bwhen\b|\b(?:what|which) (?:time|day|date|year|month|week|century|hour)\b|\bhow soon\b",
        rf"\b(?:{DAY_OR_MONTH}|today|tomorrow|yesterday|tonight|noon|midnight|morning|afternoon|evening|night|spring|summer|autumn|winter|"
        rf"weekends?|o'?clock|[ap]\.?m\b|half past|quarter (?:past|to)|(?:1[5-9]|20)\d\d|\d{{1,2}}[:.]\d\d|"
        rf"(?:sixteen|seventeen|eighteen|nineteen|twenty) (?:oh |hundred|{NUMBER})|{NUMBER} (?:fifteen|thirty|forty.five)|"
        rf"(?:at|until|till|by|from|before|after|around|about|past|in|since) {NUMBER}(?! (?:people|percent|per cent|degrees))|"
        r"(?:next|last) (?:week|month|year|night|summer|winter|spring|autumn)|\w+ ago)\b",
        "time day date year month hour",
    ),
    _ask(
        Want.MONEY,
        r"(?<!by )\bhow much (?:is|are|was|were|does|do|did|will|would)\b|\bwhat (?:does|do|did|will) .*\bcosts?\b|"
        r"\b(?:what|which) (?:is |was |are )?(?:the )?(?:\w+ )?(?:price|fare|fee|salary)\b",
        rf"[$€£]|\b(?:dollars?|cents?|pounds?|pence|euros?|francs?|kroner|rupees|yen|free|{NUMBER} (?:a|per) \w+)\b",
        "much",
    ),
    _ask(Want.DURATION, r"\bhow long\b", rf"\b(?:{NUMBER}|an?|few|several) (?:\w+ )?{LONGER}\b|\bmet(?:re|er)s?\b|\buntil\b", "long"),
    _ask(Want.AGE, r"\bhow old\b", rf"\b{NUMBER} (?:\w+ )?years?\b|\b(?:born|built|made|founded) in\b|\bI was {NUMBER}\b", "old"),
    _ask(
        Want.LENGTH,
        r"\bhow (?:far|tall|high|wide|deep|large|big)\b",
        rf"\b{NUMBER} ?(?:kilo|centi|milli)?(?:met(?:re|er)s?|k?m|cm|mm|miles?|feet|foot|inch(?:es)?|yards?)\b|\d x \d"
        rf"|\b{NUMBER} (?:\w+ ){{0,2}}(?:cents?|percent|per cent)\b",
        "far tall high wide deep large big",
    ),
    _ask(Want.DEGREES, r"\bhow (?:hot|cold|warm)\b|\b(?:what|which) temperature\b", r"\bdegrees?\b|°", "hot cold warm temperature"),
    _ask(
        Want.SPEED,
        r"\bhow fast\b|\bwhat speed\b",
        r"\b(?:an|per) hour\b|\b(?:a|per) second\b|\bknots?\b|\bkm/h|\bmph\b",
        "fast speed",
    ),
    _ask(
        Want.NUMBER,
        r"\bhow (?:many|much|heavy|often|late)\b|\b(?:what|which) (?:is |was )?(?:the )?(?:\S+ )?(?:number|percentage|amount|score)\b",
        rf"\b(?!one of\b){NUMBER}\b|\d%",
        "number amount",
    ),
    _ask(
        Want.PERSON,
        rf"\bwho(?:m|se)?\b|\b(?:which|what) (?:{NUMBER} )?(?:gentlem[ae]n|lady|ladies|m[ae]n|wom[ae]n|{'|'.join(sorted(ROLES))})s?\b",
        rf"\b(?:{'|'.join(sorted(ROLES))})\b",
    ),
    _ask(
        Want.NAME,
        r"\bwhat(?: is|'s|’s| was)? (?:\S+ ){0,6}(?:names?|surname|called)\b",
        r"(?!)",
        "name names surname called",
    ),
    _ask(
        Want.PLACE,
        r"\bwhere\b|\b(?:what|which) (?:place|city|town|country|street|building)\b",
        r"\b(?:in|at|on|to|from|near|beside|behind|under|above|over|between|opposite|next to|into|by|before|outside|inside) "
        r"(?:the |a |an |my |our |his |her |their |both )?\w+|\b(?:upstairs|downstairs|abroad)\b",
        "place",
    ),
    _ask(
        Want.REASON,
        r"\bwhy\b|\bwhat (?:for|is the reason)\b|\bhow come\b",
        r"\b(?:because|since|so that|so we|so i|therefore|due to|thanks to|in order to|that is why|reason|as (?:he|she|it|they|we))\b"
        r"|, (?:they|it|he|she|which) ",
        "reason",
    ),
)
"""The one whose sound comes first in a question counts; of several at one place the first here."""
NAMED = (Want.PERSON, Want.NAME)
"""What a capitalised word may be."""
NAME = re.compile(r"(?<!^)(?<![.!?] )\b[A-Z][a-z]+\b|\b[A-Z][a-z]+\b(?=,| \w+ed\b| [A-Z][a-z])")
"""A capitalised word inside a sentence, or one at its start that goes on as names do: "Rosa, our …", "Okafor scored", "Elena Marsh"."""


@dataclass(frozen=True)
class Question:
    """A question, read."""

    text: str
    words: tuple[str, ...]
    """The words that carry meaning, in order, each once."""
    stems: frozenset[str]
    """The same without their endings."""
    kinds: frozenset[Kind]
    """Where its wording says that the answer stands; empty where it does not say."""
    ask: Ask | None
    """What the answer must contain; `None` where anything will do."""


def read(text: str) -> Question:
    """Read a question in English."""
    ask = _first_ask(text.lower())
    words = tuple(word for word in content(text) if word not in BY_HINT and not (ask and word in ask.asking))
    return Question(text, words, frozenset(map(stem, words)), kinds(text), ask)


def contains(text: str, question: Question) -> bool | None:
    """Whether the text has what the question wants, apart from what the question says itself; `None` where it wants nothing."""
    if question.ask is None:
        return None
    found = [match.group() for match in question.ask.has.finditer(text)]
    if question.ask.want in NAMED:
        found += [name for name in NAME.findall(text) if name.lower() not in NOT_NAMES | FUNCTION_WORDS]
    if any(not _says_no_more(match, question) for match in found):
        return True
    # Whoever writes everything small, or large, hides the names.
    return None if question.ask.want in NAMED and text in (text.lower(), text.upper()) else False


def _says_no_more(match: str, question: Question) -> bool:
    """Whether all of it stands in the question; a bare sign such as "£" is no word, so it never does."""
    words = {stem(word) for word in tokens(match)}
    return bool(words) and words <= question.stems


def _first_ask(lowered: str) -> Ask | None:
    sounding = [(match.start(), number) for number, ask in enumerate(ASKS) if (match := ask.sounds.search(lowered))]
    return ASKS[min(sounding)[1]] if sounding else None
