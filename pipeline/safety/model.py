"""Models that judge pictures."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.batcher import Batcher
from pipeline.errors import MediaUndecodable
from pipeline.jpeg import decoded
from pipeline.models import locate

BATCH = 8
"""The most pictures in one run: on a CPU a picture takes as long alone, on a GPU eight hardly longer than one."""
_SIDE, _CROP = 256, 224
_MEAN_BGR = np.array([104, 117, 123], dtype=np.float32)


class ImageClassifier(Protocol):
    """Tells how likely a picture violates the policies that it covers."""

    @property
    def name(self) -> str:
        """Its name in the catalog."""
        ...

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies it scores; about others it says nothing."""
        ...

    async def classify(self, jpeg: bytes) -> Mapping[str, float]:
        """The probability of a violation, 0 to 1, for each of `policies`. Raises `MediaUndecodable`."""
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...


class OpenNsfw:
    """Yahoo's open_nsfw on ONNX Runtime: one probability, of sexually explicit content.

    Source: J. Mahadeokar and G. Pesavento, "Open Sourcing a Deep Learning Solution for Detecting NSFW Images", 2016.
    It was trained on photographs; drawings, gore, weapons and overlaid text are outside what it can tell.
    """

    name = "opennsfw"
    policies = ("sexually-explicit",)

    def __init__(self, path: Path, *, threads: int = 1, providers: tuple[str, ...] | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        offered = onnxruntime.get_available_providers()
        wanted = providers or ("CUDAExecutionProvider", "CPUExecutionProvider")
        self._session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=[name for name in wanted if name in offered]
        )
        self._input = self._session.get_inputs()[0].name
        with path.open("rb") as weights:
            self.digest = hashlib.file_digest(weights, "sha256").hexdigest()
            """SHA-256 of the weights, in hexadecimal."""
        self._batcher: Batcher[bytes, Mapping[str, float]] = Batcher(self.judge, name="opennsfw", most=BATCH)

    async def classify(self, jpeg: bytes) -> Mapping[str, float]:
        """As the port says; decoding and inference run in the adapter's own thread, pictures that wait together go together."""
        return await self._batcher.submit(jpeg, key=self.name)

    def close(self) -> None:
        """As the port says; what waits is still judged."""
        self._batcher.close()

    def judge(self, jpegs: Sequence[bytes]) -> list[Mapping[str, float] | Exception]:
        """The scores of some pictures in one run of the network, or why one has none; blocks."""
        prepared: list[npt.NDArray[np.float32] | Exception] = []
        for jpeg in jpegs:
            try:
                prepared.append(prepare(jpeg))
            except MediaUndecodable as error:
                prepared.append(error)
        inputs = [each for each in prepared if not isinstance(each, Exception)]
        # Columns are P(safe), P(explicit).
        rows = iter(self._session.run(None, {self._input: np.stack(inputs)})[0][:, 1] if inputs else ())
        return [each if isinstance(each, Exception) else {"sexually-explicit": float(np.clip(next(rows), 0.0, 1.0))} for each in prepared]


class OnDemand:
    """The catalog's classifier, loaded when the first picture comes: where few are to be judged, and often none."""

    name = OpenNsfw.name
    policies = OpenNsfw.policies

    def __init__(self) -> None:
        self._loading = asyncio.Lock()
        self._loaded: ImageClassifier | None = None

    async def classify(self, jpeg: bytes) -> Mapping[str, float]:
        """As the port says; also raises `ModelMissing` or `ModelMismatch`."""
        async with self._loading:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(load)
        return await self._loaded.classify(jpeg)

    def close(self) -> None:
        """As the port says."""
        if self._loaded is not None:
            self._loaded.close()


class NoPictures:
    """Stands where only text is judged: it covers no policy, so no picture passes."""

    name = "none"
    policies: tuple[str, ...] = ()

    async def classify(self, jpeg: bytes) -> Mapping[str, float]:
        """Nothing is scored."""
        return {}

    def close(self) -> None:
        """There is nothing to let go of."""


def prepare(jpeg: bytes) -> npt.NDArray[np.float32]:
    """The model's input of a JPEG: [224, 224, 3] float32, blue-green-red, less the mean of its training pictures.

    The middle of the picture after a resize to 256 x 256, stored as JPEG once more, because the model was trained on
    pictures prepared so (the preprocessing of yahoo/open_nsfw). Raises `MediaUndecodable`.
    """
    from PIL import Image

    resized = decoded(jpeg, upright=True).resize((_SIDE, _SIDE), resample=Image.Resampling.BILINEAR)
    margin = (_SIDE - _CROP) // 2
    stored = BytesIO()
    resized.crop((margin, margin, margin + _CROP, margin + _CROP)).save(stored, format="JPEG")
    with Image.open(stored) as again:
        pixels = np.asarray(again, dtype=np.float32)
    return np.ascontiguousarray(pixels[:, :, ::-1] - _MEAN_BGR)


def load(*, threads: int = 1) -> ImageClassifier:
    """The classifier that works out of the box; raises `ModelMissing` or `ModelMismatch`."""
    return OpenNsfw(locate("opennsfw") / "open-nsfw.onnx", threads=threads)
