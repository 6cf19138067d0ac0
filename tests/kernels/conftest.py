"""The Triton paths on a machine without a GPU: interpreted, and compiled but not run."""

import importlib.util
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from tests.kernels import workers


def _needs_triton() -> None:
    for name in ("torch", "triton"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}, which has no wheel for every platform")


def _process(initializer: Callable[..., None], *args: Any) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer, args)


@pytest.fixture(scope="session")
def interpreter() -> Iterator[ProcessPoolExecutor]:
    _needs_triton()
    with _process(workers.interpret) as process:
        yield process


@pytest.fixture
def interpreted(interpreter: ProcessPoolExecutor) -> Callable[..., Any]:
    """`interpreted(kernel, function, *args, **options)`: its result by Triton's interpreter; `in_place` gives the arguments instead.

    Arrays of float64 are passed as `floats`.
    """

    def call(name: str, function: str, *args: Any, floats: str = "float32", in_place: bool = False, **options: Any) -> Any:
        result, after = interpreter.submit(workers.call, name, function, args, options, floats).result()
        return after if in_place else result

    return call


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessPoolExecutor]:
    _needs_triton()
    with _process(workers.compile_ahead, str(tmp_path_factory.mktemp("triton"))) as process:
        yield process


@pytest.fixture
def compiled(compiler: ProcessPoolExecutor) -> Callable[..., list[str]]:
    """`compiled(kernel, function, *args, **options)`: the assembler of the kernels that the call would launch on an NVIDIA GPU."""

    def call(name: str, function: str, *args: Any, floats: str = "float32", **options: Any) -> list[str]:
        return compiler.submit(workers.compiled, name, function, args, options, floats).result()

    return call
