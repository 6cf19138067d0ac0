"""Where an array lives: the operations take numpy arrays and torch tensors, and neither library is imported for the other."""

from typing import Any

import numpy as np


def on_gpu(array: Any) -> bool:
    """Whether this is a torch tensor on a CUDA device."""
    return bool(getattr(array, "is_cuda", False))


def is_tensor(array: Any) -> bool:
    """Whether this is a torch tensor, wherever it lives."""
    return not isinstance(array, np.ndarray) and hasattr(array, "data_ptr")
