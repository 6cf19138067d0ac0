"""English words: which of them carry meaning, and what is left of one without its ending."""

import re
import unicodedata


def word_list(text: str) -> frozenset[str]:
    """The words of a list that is written as they are read."""
    return frozenset(text.split())


TOKEN = re.compile(r"\w+(?:['’]\w+)?")

FUNCTION_WORDS = word_list(
    """
    a about above after again all also am an and any are as at be because been before being below between both but by can could did do
    does doing done down during each else ever few for from further get gets got had has have having he her here hers him his how i if
    in into is it its itself just let may me might more most much many must my no nor not now of off on once only or other our out over
    own please same shall she should so some such than that the their them then there these they this those through to too under
    until up upon us very was we were what when where which while who whom whose why will with would you your yours going goes go
    thing things anything something anyone someone everyone kind kinds sort type tell tells told say says said mention mentions mentioned
    talk talks speak speaks speaker show shows shown showed see sees seen look looks appear appears visible video clip stream picture
    image scene happen happens happened really actually exactly bloody damn damned fucking
    """
)
"""Words that say nothing about what is asked for; those of the question's own manner ("does the video say …") among them."""

IRREGULAR = {
    form: base
    for base, forms in {
        "begin": "began begun",
        "bring": "brought",
        "build": "built",
        "buy": "bought",
        "catch": "caught",
        "come": "came",
        "drive": "drove driven",
        "eat": "ate eaten",
        "fall": "fell fallen",
        "find": "found",
        "fly": "flew flown",
        "give": "gave given",
        "grow": "grew grown",
        "hold": "held",
        "keep": "kept",
        "know": "knew known",
        "leave": "left",
        "lose": "lost",
        "make": "made",
        "meet": "met",
        "pay": "paid",
        "run": "ran",
        "sell": "sold",
        "send": "sent",
        "sing": "sang sung",
        "sit": "sat",
        "sleep": "slept",
        "spend": "spent",
        "stand": "stood",
        "steal": "stole stolen",
        "take": "took taken",
        "teach": "taught",
        "think": "thought",
        "wear": "wore worn",
        "win": "won",
        "write": "wrote written",
        "child": "children",
        "foot": "feet",
        "man": "men",
        "person": "people",
        "woman": "women",
    }.items()
    for form in forms.split()
}
ENDINGS = ("ing", "edly", "ed", "es", "s", "ly", "er")
SHORTEST_STEM = 3


def tokens(text: str) -> list[str]:
    """The words of a text in order, small letters, without a trailing "'s"."""
    found = TOKEN.findall(unicodedata.normalize("NFKC", text).lower())
    return [word.removesuffix("'s").removesuffix("’s") for word in found]


def content(text: str) -> list[str]:
    """The words that carry meaning, in order, each once."""
    return list(dict.fromkeys(word for word in tokens(text) if word not in FUNCTION_WORDS))


def stem(word: str) -> str:
    """The word without its ending, equal for most forms of one word: "opens", "opening" and "opened" give "open".

    Good enough to compare the few words of a question with those of a sentence; searching uses SQLite's Porter stemmer.
    """
    word = IRREGULAR.get(word, word)
    if word.endswith("ies") and len(word) > SHORTEST_STEM + 1:
        return word[:-3] + "i"
    for ending in ENDINGS:
        if word.endswith(ending) and not word.endswith("ss") and len(word) - len(ending) >= SHORTEST_STEM:
            word = word[: -len(ending)]
            break
    if len(word) > SHORTEST_STEM and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") else word.removesuffix("e")
