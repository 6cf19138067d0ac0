"""Orders to a model hidden in what should be a question: known ways of telling it to forget its task.

A list of phrasings finds the known ones only. What keeps an order without effect is that text of the stream and of the question is
given to models as data, and that answers are judged; this is the first sieve, not the wall.
"""

import re

from pipeline.safety.normalise import Folded, fold
from pipeline.safety.words import Match

POLICY = "prompt-injection"
"""The name of these rules in verdicts and policies."""

_BEGIN = r"(?:^|[.!?:;,\n\"'(>-]|\b(?:please|now|then|and|but|also|first|instead|just|must|should|to)\b)\s{0,3}"
_OLD = r"(?:previous|prior|above|earlier|preceding|former|foregoing|initial|original|existing|system|given)"
_RULES = (
    r"(?:instructions?|prompts?|rules?|directions?|directives?|guidelines?|commands?|orders?|context|messages?|restrictions?"
    r"|policies|policy|filters?|safety)"
)
_SECRET = r"(?:system|initial|original|hidden|secret|developer)"
_FREE = r"(?:unrestricted|unfiltered|uncensored|jailbroken|evil|root|admin\w*|developer)"
_ALL = r"(?:(?:all|any|every|each|the|your|my|these|those|of|its|other|what|that) ){0,4}"
_PHRASINGS = (
    rf"{_BEGIN}(?:ignore|disregard|forget|override|overrule|bypass|discard|skip|drop) {_ALL}{_OLD} {_RULES}\b",
    rf"{_BEGIN}(?:ignore|disregard|forget|override|bypass) {_ALL}{_RULES}\b",
    rf"{_BEGIN}(?:ignore|disregard|forget) (?:everything|anything|all) (?:that )?(?:you|above|before|was|is|said|written|i)\b",
    rf"{_BEGIN}do not (?:follow|obey) {_ALL}(?:{_OLD} )?{_RULES}\b",
    rf"{_BEGIN}(?:reveal|print|show|repeat|output|display|leak|tell me|give me|write out) {_ALL}"
    rf"(?:full |entire |exact ){{0,2}}{_SECRET} (?:prompts?|instructions?|messages?)\b",
    r"\bwhat (?:is|are|was|were) your (?:system|initial|original|hidden|secret) (?:prompts?|instructions?)\b",
    rf"{_BEGIN}you are (?:now|no longer) (?:a |an |in |the |bound |my |restricted |subject |dan\b)",
    rf"{_BEGIN}from now on,? you (?:are|will|must|shall|answer|act|respond)\b",
    rf"{_BEGIN}(?:act|behave|respond|answer|pretend) (?:as if|as though|as|like) (?:you (?:are|were|have|had) )?(?:an? )?"
    rf"(?:{_FREE}|no (?:rules|restrictions|filters?|limits?))\b",
    rf"{_BEGIN}pretend (?:that )?(?:you have|you are|there are|to be|to have) (?:no|an? {_FREE}|without)\b",
    r"\b(?:developer|god|dan|jailbreak|debug|admin|sudo) mode (?:on|enabled|activated|is on|engaged)\b",
    rf"{_BEGIN}(?:enable|enter|activate|switch to|go into) (?:developer|god|dan|jailbreak|debug|admin|sudo|unrestricted) mode\b",
    r"\bdo anything now\b",
    rf"{_BEGIN}(?:new|updated|real|actual) (?:system )?(?:instructions?|task|orders?|prompt)\s{{0,3}}:",
    r"<\s{0,2}/?\s{0,2}(?:system|assistant|instructions?)\s{0,2}>|<\|[a-z ]{2,24}\|>|<(?:start|end) of turn>|\[/?inst\]|<<sys>>",
    r"(?:^|\n)\s{0,3}#{1,4}\s{0,2}(?:system|instructions?|assistant)\b",
    r"(?:^|\n)\s{0,3}(?:system|assistant)\s{0,2}:",
    rf"{_BEGIN}(?:ignoriere?|vergiss|missachte) (?:(?:alle|die|deine|ihre|samtliche|bisherigen|vorherigen|obigen) ){{1,4}}"
    r"(?:anweisungen|regeln|befehle|vorgaben)\b",
    rf"{_BEGIN}(?:ignore[zr]?|oublie[zr]?) (?:(?:toutes|les|tes|vos|ces|precedentes) ){{0,4}}(?:instructions|consignes|regles)\b",
    rf"{_BEGIN}(?:ignora|olvida|ignore) (?:(?:todas|las|tus|sus|estas|anteriores) ){{0,4}}(?:instrucciones|reglas|ordenes)\b",
    "忽略(?:之前|以上|所有|前面|上面|先前)[^。！？]{0,8}(?:指令|指示|规则|提示)|(?:以前|これまで|上記)の(?:指示|命令|ルール)を(?:すべて)?(?:無視|忘れ)",
)
_PATTERN = re.compile("|".join(f"(?:{phrasing if phrasing.isascii() else fold(phrasing).text})" for phrasing in _PHRASINGS))


def find(text: str) -> list[Match]:
    """Every order of a known phrasing, in order of start."""
    return find_folded(fold(text))


def find_folded(folded: Folded) -> list[Match]:
    """As `find`, for who has folded the text already."""
    plain = _plain(folded)
    return [Match(POLICY, 1.0, *plain.span(*found.span())) for found in _PATTERN.finditer(plain.text)]


def _plain(folded: Folded) -> Folded:
    """Without the signs that only make text bold, and with one space or line end for each row of them."""
    characters: list[str] = []
    origins: list[int] = []
    for character, origin in zip(folded.text, folded.origins, strict=True):
        if character in "*`":
            continue
        if character.isspace() or character == "_":
            character = "\n" if character == "\n" else " "
            if characters and characters[-1] in " \n":
                characters[-1] = "\n" if "\n" in (character, characters[-1]) else " "
                continue
        characters.append(character)
        origins.append(origin)
    return Folded("".join(characters), origins)
