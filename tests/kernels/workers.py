"""What runs in the processes of `conftest.py`: the public operations with their Triton path, on a machine without a GPU.

Whether Triton interprets or compiles is settled when it is first imported, and others in a test's process may import it; so each way
has a process of its own. There, every torch tensor counts as one on a GPU.
"""

import importlib
import os
from typing import Any

import numpy as np

KERNELS = {
    "frame_difference": ("_thumbnail_kernel", "_difference_kernel"),
    "frame_to_patches": ("_patch_kernel",),
    "log_mel": ("_frames_kernel",),
    "rotary_time": ("_rotary_kernel",),
}
"""The kernels of each `gpu` module."""
CAPABILITY = 80
"""What is compiled for: any GPU since the A100 runs it."""


def interpret() -> None:
    """Make this process one that interprets kernels."""
    os.environ["TRITON_INTERPRET"] = "1"
    _begin()


def compile_ahead(cache: str) -> None:
    """Make this process one that compiles kernels and does not run them."""
    os.environ.pop("TRITON_INTERPRET", None)
    os.environ["TRITON_CACHE_DIR"] = cache
    _begin()
    for name, kernels in KERNELS.items():
        gpu = importlib.import_module(f"kernels.{name}.gpu")
        for kernel in kernels:
            setattr(gpu, kernel, _Ahead(getattr(gpu, kernel)))


def call(name: str, function: str, args: tuple[Any, ...], options: dict[str, Any], floats: str) -> tuple[Any, tuple[Any, ...]]:
    """Call `kernels.<name>.<function>` with arrays as tensors, those of float64 as `floats`: the result, and what became of `args`."""
    passed = tuple(to_tensors(argument, floats) for argument in args)
    result = getattr(importlib.import_module(f"kernels.{name}"), function)(*passed, **to_tensors(options, floats))
    return to_arrays(result), to_arrays(passed)


def compiled(name: str, function: str, args: tuple[Any, ...], options: dict[str, Any], floats: str) -> list[str]:
    """The same, but the kernels are compiled for a GPU instead of run: the assembler (PTX) of each."""
    _Ahead.made.clear()
    call(name, function, args, options, floats)
    return list(_Ahead.made)


def to_tensors(value: Any, floats: str, device: str = "cpu") -> Any:
    """Arrays, in whatever they lie, as tensors; those of float64 take the dtype `floats`, others keep theirs."""
    import torch

    if isinstance(value, np.ndarray):
        tensor = torch.from_numpy(value)
        return tensor.to(device, getattr(torch, floats)) if value.dtype == np.float64 else tensor.to(device)
    if isinstance(value, dict):
        return {key: to_tensors(each, floats, device) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to_tensors(each, floats, device) for each in value))
    return tuple(to_tensors(each, floats, device) for each in value) if isinstance(value, tuple) else value


def to_arrays(value: Any) -> Any:
    """Tensors as arrays, bfloat16 as float32."""
    if hasattr(value, "data_ptr"):
        return (value.float() if value.is_floating_point() else value).cpu().numpy()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(to_arrays, value))
    return tuple(map(to_arrays, value)) if isinstance(value, tuple) else value


def _begin() -> None:
    import torch

    from kernels.arrays import is_tensor

    torch.set_num_threads(1)
    for name in KERNELS:
        importlib.import_module(f"kernels.{name}").on_gpu = is_tensor  # type: ignore[attr-defined]


class _Ahead:
    """Stands for a kernel: what would launch it compiles it for the arguments' types."""

    made: list[str] = []  # noqa: RUF012 - of the process

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]) -> "_Ahead":
        assert all(size > 0 for size in grid)
        return self

    def __call__(self, *args: Any, **constants: Any) -> None:
        import torch
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        types = {torch.uint8: "u8", torch.int32: "i32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
        signature: dict[str, str] = {}
        known = dict(constants)
        for name, value in zip(self._kernel.arg_names, args, strict=False):
            if isinstance(value, torch.Tensor):
                signature[name] = f"*{types[value.dtype]}"
            elif value == 1:  # as a launch does, which makes such arguments constant
                signature[name], known[name] = "constexpr", 1
            else:
                signature[name] = "fp32" if isinstance(value, float) else "i32"
        signature |= dict.fromkeys(constants, "constexpr")
        built = triton.compile(ASTSource(self._kernel, signature, known), target=GPUTarget("cuda", CAPABILITY, 32))
        self.made.append(built.asm["ptx"])
