"""Finding speech: the port of speech detectors, and Silero VAD."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.models import locate
from pipeline.transcribe.audio import Samples
from pipeline.transcribe.segmentation import FRAME

_CONTEXT = 64
"""Samples of the frame before that the network sees in front of each frame."""
_MOST_FRAMES = 512
"""Frames that the network is given at once: 16 s, as its authors do."""


@dataclass(frozen=True)
class VadState:
    """What a detector remembers of the frames so far; immutable, so that one can go on from any point again."""

    memory: NDArray[np.float32]
    """What the network carries on; shape (2, 1, 128) for Silero VAD."""
    context: Samples
    """The latest samples, which stand in front of the next frame; shape (64,) for Silero VAD."""


class SpeechDetector(Protocol):
    """Tells how likely speech is in each frame."""

    async def probabilities(self, samples: Samples, state: VadState | None) -> tuple[list[float], VadState]:
        """The probability of speech in each 512-sample frame, 0 to 1, and the state to go on with.

        `samples` are whole frames of 16 kHz mono, float32, finite; `None` as state starts anew. The same samples from the same
        state give the same to the bit, in one call or in several. May be called for many streams at the same time.
        """
        ...

    def close(self) -> None:
        """Let go of the threads that compute."""
        ...


class SileroVad:
    """Silero VAD v6 (MIT, github.com/snakers4/silero-vad) through ONNX Runtime; 1.8 ms of one core per second of audio.

    Of the published networks this is the one that takes any number of frames at once, with the same weights and results as
    the one that takes them one by one, at half the cost (`silero_vad.sequence_vad` in its package). Each call computes on one
    thread, and as many calls at a time as there are cores.
    """

    def __init__(self, directory: Path, *, workers: int | None = None) -> None:
        """Load `silero_vad_16k_sequence.onnx` from `directory`; `workers` is how many calls compute at a time, by default one a core."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(directory / "silero_vad_16k_sequence.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._executor = ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1, thread_name_prefix="vad")

    async def probabilities(self, samples: Samples, state: VadState | None) -> tuple[list[float], VadState]:
        """As the port says. Raises `ValueError` for a part of a frame."""
        if len(samples) % FRAME:
            raise ValueError(f"{len(samples)} samples are not whole frames of {FRAME}")
        state = state or VadState(np.zeros((2, 1, 128), np.float32), np.zeros(_CONTEXT, np.float32))
        if not len(samples):
            return [], state
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, samples, state)

    def close(self) -> None:
        """Let go of the threads that compute."""
        self._executor.shutdown(wait=False)

    def _run(self, samples: Samples, state: VadState) -> tuple[list[float], VadState]:
        """The network over whole frames; blocks."""
        hidden, cell = state.memory[:1], state.memory[1:]
        sound = np.concatenate((state.context, samples), dtype=np.float32)
        found: list[float] = []
        for start in range(0, len(samples), _MOST_FRAMES * FRAME):
            part = sound[start : start + _MOST_FRAMES * FRAME + _CONTEXT]
            heard = np.ascontiguousarray(sliding_window_view(part, _CONTEXT + FRAME)[::FRAME])
            output, hidden, cell = self._session.run(None, {"input": heard, "h": hidden, "c": cell})
            found += output.tolist()
        return found, VadState(np.concatenate((hidden, cell)), sound[-_CONTEXT:].copy())


def load_detector(directory: Path | None = None) -> SpeechDetector:
    """The packaged detector, or one from `directory`. Raises `ModelMissing` and `ModelMismatch`."""
    return SileroVad(directory or locate("silero-vad"))
