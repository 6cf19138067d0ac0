"""Small real things with a script, in place of models and sources."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.caption.model import Description, SceneView
from pipeline.qa.store import DIMENSIONS, Vectors
from pipeline.qa.words import stem, tokens


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
