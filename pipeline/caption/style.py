"""What a stream's descriptions are asked to be, and the words in which a model is asked for it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.errors import SettingInvalid

PROMPT_VERSION = "1"
"""Changes with the wording below; a caption names it, so that descriptions can be told apart by how they were asked for."""
LONGEST_PROMPT = 2_000
MOST_FORBIDDEN = 100
LONGEST_FORBIDDEN = 100
LONGEST_ADAPTER = 100
MOST_WORDS = 400
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
"""A BCP 47 tag as far as it matters here (RFC 5646, section 2.1)."""

QUESTION = "These are keyframes of one scene of a video, in order. Describe in one or two sentences what is shown and what happens."
_GROUNDS = (
    "You describe one scene of a video from its keyframes, which come in order of time. Say only what the pictures show: "
    "do not guess names, places, or what is said."
)
_FORM = """Answer with one JSON object and nothing else. Its keys:
"sentence": what is shown and what happens, in one sentence;
"detail": two or three sentences more, or "";
"objects": what can be seen, a list of short names, at most 12;
"actions": what happens, a list of objects with the keys "what", "start" and "end", the times in seconds from the first keyframe, at most 8;
"text": the words that can be read in the pictures, a list with one entry a line, at most 20;
"people": how many people can be seen at most at one time, a number, or null if you cannot tell;
"camera": how the camera moves, such as "still", "pan left" or "zoom in", or "" if you cannot tell;
"confidence": how sure you are of all this, from 0 to 1."""


@dataclass(frozen=True)
class Style:
    """How descriptions are to be written; empty values leave it to the model."""

    structured: bool = False
    """Whether details are asked for, as JSON, or a sentence alone. A small model may not be able to write JSON."""
    prompt: str = ""
    """What else the model is told, such as what the stream is and what matters in it."""
    voice: str = ""
    """In what voice, such as "calm and factual, as in a museum guide"."""
    language: str = ""
    """BCP 47 language of the descriptions, with a region or script where that matters, as in "pt-BR"."""
    words: int = 0
    """How many words a sentence may have at most; 0 for no limit. What is longer is cut."""
    forbidden: tuple[str, ...] = ()
    """Words and phrases that do not appear; where a model writes one all the same, it is left out."""
    adapter: str = ""
    """The adapter that is switched on in the model; none if empty."""

    def __post_init__(self) -> None:
        """Raises `SettingInvalid` for what is too much, or is no language."""
        if not 0 <= self.words <= MOST_WORDS:
            raise SettingInvalid(f"a description may have 1 to {MOST_WORDS} words, or 0 for no limit, not {self.words}")
        if len(self.prompt) + len(self.voice) > LONGEST_PROMPT:
            raise SettingInvalid(f"what a captioner is told may have {LONGEST_PROMPT:,} characters, prompt and voice together")
        if len(self.forbidden) > MOST_FORBIDDEN or not all(word.strip() for word in self.forbidden):
            raise SettingInvalid(f"at most {MOST_FORBIDDEN} words can be forbidden, none of them empty")
        if any(len(word) > LONGEST_FORBIDDEN for word in self.forbidden):
            raise SettingInvalid(f"forbidden words may have at most {LONGEST_FORBIDDEN} characters each")
        if len(self.adapter) > LONGEST_ADAPTER:
            raise SettingInvalid(f"an adapter's name has at most {LONGEST_ADAPTER} characters")
        if self.language and not _LANGUAGE.fullmatch(self.language):
            raise SettingInvalid(f'{self.language[:40]!r} is no BCP 47 language such as "de" or "pt-BR"')

    @property
    def plain(self) -> bool:
        """Whether nothing is asked for in words but a description."""
        return replace(self, adapter="") == PLAIN


PLAIN = Style()
"""A sentence, however the model likes to put it."""


def instruction(style: Style) -> str:
    """What a model is told before it sees a picture; the same for every scene of a style. Empty for the plain style."""
    if style.plain:
        return ""
    wishes = [
        style.prompt.strip(),
        f"Write in this voice: {style.voice.strip()}." if style.voice.strip() else "",
        f"Write in the language {style.language}." if style.language else "",
        f"Use at most {style.words} words for a sentence." if style.words else "",
        f"Never use these words: {', '.join(style.forbidden)}." if style.forbidden else "",
    ]
    return "\n".join([_GROUNDS, *(wish for wish in wishes if wish), *([_FORM] if style.structured else [])])


def question(style: Style, before: Sequence[str] = (), asked: str = "") -> str:
    """What a model is asked when it has seen the pictures: `asked`, or for a description.

    `before` are the descriptions of the scenes before, the latest last.
    """
    if asked:
        return asked
    if style.plain and not before:
        return QUESTION
    told = [f"Just before, the video showed: {' / '.join(before)}\nIf something of it comes back, say so."] if before else []
    wanted = "Describe this scene as the JSON object." if style.structured else QUESTION
    return "\n".join([*told, wanted])
