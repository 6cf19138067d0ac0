"""The port of speech models: what one is asked to hear, and what it answers."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from pipeline.errors import SettingInvalid
from pipeline.models import locate
from pipeline.timeline import MediaTime
from pipeline.transcribe.audio import Samples
from pipeline.transcribe.segmentation import RATE
from pipeline.transcribe.words import HeardWord, Hypothesis

P = ParamSpec("P")
T = TypeVar("T")

LONGEST = RATE * 29
"""Samples that a Whisper model can be given at once: its 30 s less the silence that lets it stop."""


class Task(Enum):
    """What to write."""

    TRANSCRIBE = "transcribe"
    """The words that are said, in their language."""
    TRANSLATE = "translate"
    """What is said, in English."""


@dataclass(frozen=True)
class Passage:
    """A stretch of audio to be heard, and what is known of it."""

    samples: Samples
    """Float32 mono at 16 kHz, at most 29 s."""
    start: MediaTime
    """When the first sample is heard."""
    prefix: tuple[HeardWord, ...] = ()
    """Words already known to be said at the beginning of `samples`: the answer goes on after them."""
    expected: tuple[HeardWord, ...] = ()
    """Words behind the prefix that someone was shown: of hypotheses that are about as likely, the answer is the one that keeps most of
    them. Engines that have but one hypothesis ignore it."""
    terms: str = ""
    """Names and terms that may be said."""
    prompt: str = ""
    """What was said before `samples`; the model is led by its end when it is too long."""
    language: str = "en"
    """BCP 47 language that is spoken."""
    task: Task = Task.TRANSCRIBE
    beam: int = 5
    """How many hypotheses are followed; 1 is greedy and costs least."""
    least_window: int = RATE * 15
    """Samples, at most 30 s, that the encoder is given at least, silence making up for what is missing behind the audio. At
    least 1 s of silence follows in any case. A short window is cheap, but a model that has not heard the silence repeats itself
    rather than stop (`Hypothesis.ran_on`): 15 s lost nothing on 100 LibriSpeech clips, less is for words that are heard again.
    Engines whose encoder takes nothing but 30 s ignore it."""
    silence: int = RATE * 2
    """Samples of silence behind the audio that are heard with it, at least. An engine may complete the window with silence that it has
    heard before (`engines.ctranslate2`): the less is heard anew, the cheaper, and the less sure that the model stops in time."""
    stream: str = ""
    """Whose audio it is: streams take turns, and what overlaps the stream's last passage need not be computed again. It changes
    no word. Empty for a passage of its own."""

    @property
    def leading(self) -> str:
        """All text that leads the model: the terms, and what was said."""
        return f"{self.terms.strip()} {self.prompt.strip()}".strip()


@dataclass(frozen=True)
class LanguageGuess:
    """How likely a language is spoken."""

    language: str
    """BCP 47."""
    probability: float


class Transcriber(Protocol):
    """Writes down stretches of speech; one serves all streams, and what it answers depends on the passage alone."""

    @property
    def name(self) -> str:
        """Catalog name of the model."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """BCP 47 languages that it can be asked for."""
        ...

    @property
    def continues(self) -> bool:
        """Whether `Passage.prefix` is taken into account; without, the words of the whole passage are answered."""
        ...

    async def transcribe(self, passage: Passage) -> Hypothesis:
        """The words of the passage that follow its prefix, in order of time.

        Raises `ValueError` for more than 29 s, `SettingInvalid` for a language or a task that the model does not know,
        `Overloaded` if too many passages wait, `ServiceUnavailable` and the like where the model is on another machine.
        """
        ...

    async def identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        """Which language is spoken in up to 30 s of float32 mono at 16 kHz: the likeliest first; one guess where only one is known."""
        ...

    def close(self) -> None:
        """Let go of the threads that compute, without waiting for what they are at."""
        ...


async def in_thread(executor: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking work on an adapter's own thread."""
    return await asyncio.get_running_loop().run_in_executor(executor, lambda: function(*args, **kwargs))


class Threaded(ABC):
    """A `Transcriber` that computes, or waits for a server, on threads of its own: one, if not told."""

    continues = False

    def __init__(self, name: str, languages: frozenset[str], *, threads: int = 1) -> None:
        self._name, self._languages = name, languages
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)

    @property
    def name(self) -> str:
        """Catalog name of the model."""
        return self._name

    @property
    def languages(self) -> frozenset[str]:
        """BCP 47 languages that it can be asked for."""
        return self._languages

    async def transcribe(self, passage: Passage) -> Hypothesis:
        """As the port says."""
        check(passage, self._name, self._languages)
        return await in_thread(self._executor, self._transcribe, passage)

    async def identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        """As the port says."""
        if len(self._languages) == 1:
            return (LanguageGuess(next(iter(self._languages)), 1.0),)
        return await in_thread(self._executor, self._identify, samples[: RATE * 30])

    def close(self) -> None:
        """Let go of the thread that computes."""
        self._executor.shutdown(wait=False)

    @abstractmethod
    def _transcribe(self, passage: Passage) -> Hypothesis:
        """The words of a checked passage; blocks."""

    @abstractmethod
    def _identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        """The guesses of a multilingual model; blocks."""


def check(passage: Passage, name: str, languages: frozenset[str]) -> None:
    """Raise `ValueError` for more audio than a Whisper model takes at once, `SettingInvalid` for what it does not know."""
    if len(passage.samples) > LONGEST:
        raise ValueError(f"{len(passage.samples) / RATE:.1f} s of audio given at once; a Whisper model takes {LONGEST // RATE} s")
    check_language(name, passage.language, languages)
    if passage.task is Task.TRANSLATE and len(languages) == 1:
        raise SettingInvalid(f"translation: {name} knows only English; set a multilingual Whisper model to translate")


def check_language(name: str, language: str, languages: frozenset[str]) -> None:
    """Raise `SettingInvalid` for a language that the model does not know."""
    if language in languages:
        return
    if languages == {"en"}:
        raise SettingInvalid(f'language "{language}": {name} knows only English ("en"); set a multilingual Whisper model for others')
    raise SettingInvalid(f'language "{language}": {name} does not know it; it knows {", ".join(sorted(languages))}')


def load(name: str = "whisper-tiny.en", *, directory: Path | None = None, url: str = "", api_key: str = "") -> Transcriber:
    """The catalog's model of this name, or one from `directory`, or the one that the server at `url` calls so.

    The engine follows from what the directory holds: CTranslate2 for a model.bin, transformers for safetensors, the reference
    engine, openai-whisper, for a `.pt` file, looked for in this order. A server speaks OpenAI's audio API; `api_key` is for it.
    Raises `ModelMissing`, `ModelMismatch`, and `SettingInvalid` for something that is no URL.
    """
    if url:
        from pipeline.transcribe.engines.endpoint import OpenAiEndpoint

        return OpenAiEndpoint(url, model=name, api_key=api_key)
    directory = directory or locate(name)
    if not (directory / "model.bin").is_file():
        if any(directory.glob("*.safetensors")):
            from pipeline.transcribe.engines.transformers import TransformersWhisper

            return TransformersWhisper(directory, name=name)
        if checkpoints := sorted(directory.glob("*.pt")):
            from pipeline.transcribe.engines.openai_whisper import OpenAiWhisper

            return OpenAiWhisper(checkpoints[0], name=name)
    from pipeline.transcribe.engines.ctranslate2 import FasterWhisper

    return FasterWhisper(directory, name=name)
