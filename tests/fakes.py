"""Small real things with a script, in place of models and sources."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.caption.model import Description, SceneView
from pipeline.qa.store import DIMENSIONS, Vectors
from pipeline.qa.words import stem, tokens
from pipeline.timeline import MediaTime
from pipeline.transcribe.audio import Samples
from pipeline.transcribe.vad import VadState
from pipeline.transcribe.words import HeardWord, Hypothesis


class ScriptedCaptioner:
    """Describes a scene by what it was shown, or by the next line of its script; an error in the script is raised."""

    name = "scripted"

    def __init__(self, *script: "str | Exception") -> None:
        self.seen: list[SceneView] = []
        self._script = list(script)

    async def describe(self, scene: SceneView) -> Description:
        self.seen.append(scene)
        line = self._script.pop(0) if self._script else " ".join(str(shot.time.millis) for shot in scene.shots)
        if isinstance(line, Exception):
            raise line
        return Description(line, on_screen_text=("a sign",))


class ScriptedEmbedder:
    """Gives texts with the same words near vectors, or raises the next error of its script."""

    name = "scripted"

    def __init__(self, *script: Exception) -> None:
        self.seen: list[str] = []
        self._script = list(script)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        if self._script:
            raise self._script.pop(0)
        self.seen += texts
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[0] = 0.01
            for word in tokens(text):
                vector[1 + zlib.crc32(stem(word).encode()) % (DIMENSIONS - 1)] += 1
            vector /= np.linalg.norm(vector)
        return vectors

    async def close(self) -> None:
        pass


class ScriptedClassifier:
    """Scores pictures with the next numbers of its script, 0 when it is used up; an error in the script is raised."""

    name = "scripted"
    policies = ("sexually-explicit",)

    def __init__(self, *script: "float | Exception") -> None:
        self.seen: list[bytes] = []
        self._script = list(script)

    async def classify(self, jpeg: bytes) -> Mapping[str, float]:
        self.seen.append(jpeg)
        line = self._script.pop(0) if self._script else 0.0
        if isinstance(line, Exception):
            raise line
        return {"sexually-explicit": line}

    def close(self) -> None:
        pass


class ScriptedTranscriber:
    """Knows what is said when, and hears of it what lies within the audio that it is given.

    The script holds words as (text, start, end) in seconds of media time. A word of `misheard` is heard wrongly while it
    lies within the last half second of the audio. An error in `failures` is raised instead of the next answer.
    """

    name = "scripted"
    language = "en"

    def __init__(
        self, words: Sequence[tuple[str, float, float]], *, misheard: Mapping[str, str] | None = None, failures: Sequence[Exception] = ()
    ) -> None:
        self.heard: list[tuple[float, float]] = []
        self._words = words
        self._misheard = misheard or {}
        self._failures = list(failures)

    async def transcribe(self, samples: Samples, start: MediaTime) -> Hypothesis:
        if self._failures:
            raise self._failures.pop(0)
        end = start + MediaTime.of(len(samples) / 16_000)
        self.heard.append((start.seconds, end.seconds))
        said = []
        for text, begin, close in self._words:
            if begin >= start.seconds - 0.05 and close <= end.seconds + 0.05:
                recent = close > end.seconds - 0.5
                heard = self._misheard.get(text, text) if recent else text
                said.append(HeardWord(heard, MediaTime.of(begin), MediaTime.of(close), 0.9))
        return Hypothesis(tuple(said), -0.2, 0.0)

    def close(self) -> None:
        pass


class LoudnessDetector:
    """Takes whatever is loud for speech; its state counts the frames."""

    async def probabilities(self, samples: Samples, state: VadState | None) -> tuple[list[float], VadState]:
        levels = np.sqrt(np.mean(np.square(samples.reshape(-1, 512)), axis=1))
        count = (state.memory if state else np.zeros(1, np.float32)) + len(levels)
        return [1.0 if level > 0.03 else 0.0 for level in levels], VadState(count, samples[:0])

    def close(self) -> None:
        pass
