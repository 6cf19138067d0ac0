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
    WEIGHT = "a weight"
    OFTEN = "how often"
    NUMBER = "a number"
    PERSON = "a person"
    NAME = "a name"
    SURNAME = "a second name"
    CONTACT = "a number or an address to reach somebody at"
    PLACE = "a place"
    REASON = "a reason"


HEARD = (
    "say says said saying tell tells told talk talks talked speak speaks spoke speaker mention mentions mentioned hear heard narrator "
    "narration commentator passage according"
)
SEEN = "see sees seen show shows shown showed picture pictured image visible scene"
READ = "read reads written write writes sign slide screen text caption label board poster title headline"
HINTING = word_list(f"{HEARD} {SEEN} {READ}")
"""Words that say where an answer stands, where they are used so."""
WHERE = {
    Kind.SPEECH: re.compile(rf"\b(?:{HEARD.replace(' ', '|')})\b"),
    Kind.DESCRIPTION: re.compile(
        r"\b(?:sees|seen|shows?|shown|showed|pictured?|image|visible|scene)\b|"
        r"\b(?:you|we|i|one|camera|viewers?) see\b|\bto see (?:in|at|on)\b"
    ),
    Kind.ON_SCREEN_TEXT: re.compile(
        r"(?<!^who )(?<!^who has )\b(?:reads?|writes?|written)\b(?! by\b)|\b(?:text|caption|title|headline|label|poster|slide)\b|"
        r"\bscreen (?:say|show|read)s?\b|\b(?:on|does|do) (?:the|a|this|that) (?:\w+ )?(?:screen|board)\b|"
        r"\b(?:the|a|any|this|that|which|what) (?:\w+ )?sign\b"
    ),
}
"""How: "who reads the news?" asks for no letters, and "how large is the screen?" for nothing on it."""


def _hints(text: str) -> tuple[frozenset[Kind], frozenset[str]]:
    """Where a question's wording says that the answer stands, and the words that say so."""
    found = {kind: pattern.findall(text.lower()) for kind, pattern in WHERE.items()}
    if found[Kind.ON_SCREEN_TEXT]:
        # A sign "says" something in letters, not in speech.
        found[Kind.SPEECH] = []
    words = {word for pattern in WHERE.values() for match in pattern.findall(text.lower()) for word in tokens(match)}
    return frozenset(kind for kind, matches in found.items() if matches), frozenset(words) & HINTING


def kinds(text: str) -> frozenset[Kind]:
    """Where a question's wording says that the answer stands."""
    return _hints(text)[0]


ORDINAL = (
    r"(?:(?:twenty|thirty)[ -])?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|tenth|eleventh|twelfth|"
    r"thirteenth|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth|nineteenth|twentieth|thirtieth|\d{1,2}(?:st|nd|rd|th)"
)
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
NO_NAME = "|".join(
    sorted(FUNCTION_WORDS | NOT_NAMES | word_list("today yesterday tomorrow hello welcome good dear thanks thank mrs mr ms dr"))
)
"""What no name begins with, though a sentence may: "The Ferry Company", "At Monday Morning"."""
UNIT = (
    rf"{LONGER}|dollars?|cents?|pounds?|euros?|francs?|kroner|rupees|yen|percent|per cent|degrees?|people|visitors|copies|tickets|times|"
    r"(?:kilo|centi|milli)?met(?:re|er)s?|k?m|cm|mm|miles?|feet|foot|tonn?es?|tons?|kilos?|(?:kilo|milli)?grams?|kg|lit(?:re|er)s?"
)
"""What digits count, which are then no number to call."""


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
        Want.SURNAME,
        r"\b(?:what|which) .*\b(?:surname|(?:last|family|second) name)\b",
        rf"(?<!\bthe )\b(?!(?:{NO_NAME})\b)(?-i:[A-Z]\w+ [A-Z]\w+)|\b(?:surname|last name|family name) (?:is|was)\b",
        "surname last family second name",
    ),
    _ask(
        Want.CONTACT,
        r"\b(?:what|which) .*\b(?:(?:tele)?phone number|e-?mail|website|web address|postcode|zip code)\b",
        rf"(?<![$€£\d])\d(?:[ -]?\d){{4,}}+(?! ?(?:{UNIT})\b)|\b(?:{NUMBER}[ -]){{4,}}+(?!(?:{UNIT})\b)|@|"
        r"\w\.(?:com|org|net|[a-z]{2})\b|\bdot (?:com|org|net)\b|www",
        "number",
    ),
    _ask(
        Want.TIME,
        r"\bwhen\b|\b(?:what|which) (?:time|day|date|year|month|week|century|hour)\b|\bhow soon\b",
        rf"\b(?:{DAY_OR_MONTH}|today|tomorrow|yesterday|tonight|noon|midnight|morning|afternoon|evening|night|spring|summer|autumn|winter|"
        rf"weekends?|o'?clock|[ap]\.?m\b|half past|quarter (?:past|to)|(?:1[5-9]|20)\d\d|\d{{1,2}}[:.]\d\d|"
        rf"(?:sixteen|seventeen|eighteen|nineteen|twenty) (?:oh |hundred|{NUMBER})|{NUMBER} (?:fifteen|thirty|forty.five)|"
        rf"(?:at|until|till|by|from|before|after|around|about|past|in|since) {NUMBER}(?! (?:people|percent|per cent|degrees))|"
        rf"(?:on|by|until|till|from|before|after) the (?:{ORDINAL})(?! (?:floor|row|page|time|half))|"
        r"(?:next|last|this) (?:week|month|year|night|summer|winter|spring|autumn)|\w+ ago|later this \w+)\b",
        "time day date year month hour",
    ),
    _ask(
        Want.MONEY,
        r"(?<!by )\bhow much (?:is|are|was|were|does|do|did|will|would)\b"
        r"(?!.*\b(?:rise|rose|fall|fell|drop|grow|go|change|increase|decrease)\b)|"
        r"\bwhat (?:does|do|did|will) .*\bcosts?\b|"
        r"\b(?:what|which) (?:is |was |are |were )?(?:the )?(?:\S+ ){0,2}(?:price|fare|fee|salary|wages?)\b",
        rf"[$€£]|\b(?:dollars?|cents?|pounds?|shillings?|pence|euros?|francs?|kroner|rupees|yen|free|{NUMBER} (?:a|per) \w+)\b",
        "much",
    ),
    _ask(Want.DURATION, r"\bhow long\b", rf"\b(?:{NUMBER}|an?|few|several) (?:\w+ )?{LONGER}\b|\bmet(?:re|er)s?\b|\buntil\b", "long"),
    _ask(Want.AGE, r"\bhow old\b", rf"\b{NUMBER} (?:\w+ )?years?\b|\b(?:born|built|made|founded) in\b|\bI was {NUMBER}\b", "old"),
    _ask(
        Want.LENGTH,
        r"\bhow (?:far|tall|high|wide|deep)\b",
        rf"\b{NUMBER} ?(?:kilo|centi|milli)?(?:met(?:re|er)s?|k?m|cm|mm|miles?|feet|foot|inch(?:es)?|yards?)\b|\d x \d"
        rf"|\b{NUMBER} (?:\w+ ){{0,2}}(?:cents?|percent|per cent)\b",
        "far tall high wide deep",
    ),
    _ask(Want.DEGREES, r"\bhow (?:hot|cold|warm)\b|\b(?:what|which) temperature\b", r"\bdegrees?\b|°", "hot cold warm temperature"),
    _ask(
        Want.SPEED,
        r"\bhow fast\b|\bwhat speed\b",
        r"\b(?:an|per) hour\b|\b(?:a|per) second\b|\bknots?\b|\bkm/h|\bmph\b",
        "fast speed",
    ),
    _ask(
        Want.WEIGHT,
        r"\bhow heavy\b|\bhow much (?:does|do|did) .*\bweigh\b",
        rf"\b{NUMBER} ?(?:kilo|milli)?(?:grams?|g|kg|mg|kilos?|tonn?es?|tons?|pounds?|lbs?|ounces?|oz|stones?)\b",
        "heavy weigh",
    ),
    _ask(
        Want.NUMBER,
        r"\bhow (?:many|much|late|large|big)\b|\b(?:what|which) (?:is |was )?(?:the )?(?:\S+ )?(?:number|percentage|amount|score)\b",
        rf"\b(?!one of\b){NUMBER}\b|\d%",
        "number amount large big",
    ),
    _ask(
        Want.OFTEN,
        r"\bhow (?:often|frequently)\b|\bhow many times\b",
        rf"\b(?:once|twice|thrice|every|daily|weekly|monthly|yearly|hourly|always|never|times)\b|\b{NUMBER} (?:a|an|per) \w+",
        "often frequently times",
    ),
    _ask(
        Want.PERSON,
        rf"(?:^|[,.;:] |\b(?:and|or|but|to|by|with|from|for|of|about|then|exactly) )who(?:m|se)?\b|"
        rf"\b(?:which|what) (?:{NUMBER} )?(?:gentlem[ae]n|lady|ladies|m[ae]n|wom[ae]n|{'|'.join(sorted(ROLES))})s?\b",
        rf"\b(?:{'|'.join(sorted(ROLES))})\b",
    ),
    _ask(
        Want.NAME,
        r"\bwhat(?: is|'s|’s| was)? (?:\S+ ){0,6}(?:names?|surname|called)\b",
        r"\b(?:called|named|known as|names? (?:is|was|are)|calls? (?:it|him|her|them|this|that))\b",
        "name names surname called",
    ),
    _ask(
        Want.PLACE,
        r"\bwhere\b|\b(?:what|which) (?:place|city|town|country|street|building)\b",
        r"\b(?:in|at|on|to|from|near|beside|behind|under|above|over|between|opposite|next to|into|"
        r"(?<!ed )(?<!en )(?<!made )(?<!built )by|before|"
        r"outside|inside|through|along|across|via|beyond|around) "
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
DOING = word_list("is was has had will would can and again who said says does did")
UNSURE = (Want.REASON,)
"""What may be told without any word that is typical of it: "do not use flash, light bleaches the varnish"."""
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
    names: frozenset[str] = frozenset()
    """Which of its words are names, as far as capitals tell."""


def read(text: str) -> Question:
    """Read a question in English."""
    ask = _first_ask(text.lower())
    stands, hinting = _hints(text)
    words = tuple(word for word in content(text) if word not in hinting and not (ask and word in ask.asking))
    named = {name.lower() for name in NAME.findall(text)} - NOT_NAMES - FUNCTION_WORDS
    return Question(text, words, frozenset(map(stem, words)), stands, ask, frozenset(named))


def contains(text: str, question: Question) -> bool | None:
    """Whether the text has what the question wants, apart from what the question says itself; `None` where it wants nothing."""
    if question.ask is None:
        return None
    found = [match.group() for match in question.ask.has.finditer(text)]
    if question.ask.want in NAMED:
        found += [name for name in NAME.findall(text) if name.lower() not in NOT_NAMES | FUNCTION_WORDS]
    if any(not _says_no_more(match, question) for match in found):
        return True
    unsure = question.ask.want in UNSURE or (question.ask.want in NAMED and text in (text.lower(), text.upper()))
    return None if unsure or (question.ask.want is Want.PERSON and _begins_with_a_name(text, question)) else False


def _begins_with_a_name(text: str, question: Question) -> bool:
    """Whether a sentence may begin with a name, which no capital tells there: "Kenji is working on it", "Mensah again"."""
    first, then = [*tokens(text)[:2], "", ""][:2]
    common = FUNCTION_WORDS | NUMERALS | NOT_NAMES
    return text[:1].isupper() and first not in common and stem(first) not in question.stems and then in DOING


def _says_no_more(match: str, question: Question) -> bool:
    """Whether all of it stands in the question; a bare sign such as "£" is no word, so it never does."""
    words = {stem(word) for word in tokens(match)}
    return bool(words) and words <= question.stems


ASKED = re.compile(
    r"^(?:(?:and|so|but|well|okay|now|then) )*(?:"
    r"(?:what|when|where|why|how|who|which|whose)(?: \w+){0,3}? (?:is|are|was|were|do|does|did|have|has|had|can|could|will|would|should)\b|"
    r"(?:what|when|where|why|how|who)['’]s\b|what about\b|"
    r"(?:do|does|did|is|are|was|were|have|has|can|could|will|would) (?:you|we|they|i|he|she|it|there|your|the)\b)",
    re.IGNORECASE,
)
"""How questions begin, for speech that is written down without marks."""
SHORT = 14
"""A question without its mark has at most so many words."""


def is_question(text: str) -> bool:
    """Whether a sentence that was said asks something; where it is written without marks, by how it begins."""
    plain = text.strip()
    if plain.endswith(("?", "?”", '?"')):
        return True
    return not re.search(r"[.!,;]", plain) and len(plain.split()) <= SHORT and ASKED.match(plain) is not None


def _first_ask(lowered: str) -> Ask | None:
    sounding = [(match.start(), number) for number, ask in enumerate(ASKS) if (match := ask.sounds.search(lowered))]
    return ASKS[min(sounding)[1]] if sounding else None
