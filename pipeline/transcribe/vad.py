"""Finding speech: the port of speech detectors, and Silero VAD."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.models import locate
from pipeline.transcribe.audio import Samples
from pipeline.transcribe.model import in_thread
from pipeline.transcribe.segmentation import FRAME, RATE

_CONTEXT = 64
"""Samples of the frame before that the network sees in front of each frame."""


@dataclass(frozen=True)
class VadState:
    """What a detector remembers of the frames so far; immutable, so that one can go on from any point again."""

    memory: NDArray[np.float32]
    context: Samples


class SpeechDetector(Protocol):
    """Tells how likely speech is in each frame."""

    async def probabilities(self, samples: Samples, state: VadState | None) -> tuple[list[float], VadState]:
        """The probability of speech in each 512-sample frame, 0 to 1, and the state to go on with.

        `samples` are whole frames of 16 kHz mono; `None` as state starts anew.
        """
        ...

    def close(self) -> None:
        """Let go of the thread that computes."""
        ...


class SileroVad:
    """Silero VAD v6 (MIT, github.com/snakers4/silero-vad) through ONNX Runtime, one thread; about 2 ms per second of audio."""

    def __init__(self, directory: Path) -> None:
        """Load `silero_vad_16k_op15.onnx` from `directory`."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(directory / "silero_vad_16k_op15.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vad")

    async def probabilities(self, samples: Samples, state: VadState | None) -> tuple[list[float], VadState]:
        """As the port says. Raises `ValueError` for a part of a frame."""
        if len(samples) % FRAME:
            raise ValueError(f"{len(samples)} samples are not whole frames of {FRAME}")
        return await in_thread(self._executor, self._run, samples, state)

    def close(self) -> None:
        """Let go of the thread that computes."""
        self._executor.shutdown(wait=False)

    def _run(self, samples: Samples, state: VadState | None) -> tuple[list[float], VadState]:
        memory = state.memory if state else np.zeros((2, 1, 128), np.float32)
        context = state.context if state else np.zeros(_CONTEXT, np.float32)
        rate = np.array(RATE, np.int64)
        found = []
        for start in range(0, len(samples), FRAME):
            frame = samples[start : start + FRAME]
            heard = np.concatenate((context, frame))[None, :]
            output, memory = self._session.run(None, {"input": heard, "state": memory, "sr": rate})
            found.append(float(output[0, 0]))
            context = frame[-_CONTEXT:]
        return found, VadState(memory, context.copy())


def load_detector(directory: Path | None = None) -> SpeechDetector:
    """The packaged detector, or one from `directory`. Raises `ModelMissing` and `ModelMismatch`."""
    return SileroVad(directory or locate("silero-vad"))
