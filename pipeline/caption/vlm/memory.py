"""When a device runs out of memory: a smaller batch, then fewer tokens, then a refusal that says so; the process lives."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from pipeline.errors import Overloaded
from pipeline.telemetry import CAPTION_SHRUNK

log = structlog.get_logger(__name__)

_SAID = ("out of memory", "can't allocate memory", "not enough memory")

Item = TypeVar("Item")
Result = TypeVar("Result")


def with_less(
    items: Sequence[Item],
    run: Callable[[Sequence[Item], int], Sequence[Result | Exception]],
    tokens: int,
    *,
    least: int,
    make_room: Callable[[], None],
) -> list[Result | Exception]:
    """What `run` makes of the items with a budget of tokens for each, or of parts of them with less.

    `make_room` is called before each further try. Below `least` tokens an item is refused with `Overloaded`.
    """
    try:
        return list(run(items, tokens))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        told = str(error).split("\n")[0][:200]
    # Only here is what the failed try held let go: the error's traceback kept it alive.
    make_room()
    if len(items) > 1:
        _note("split", told, items, tokens)
        half = len(items) // 2
        return [
            *with_less(items[:half], run, tokens, least=least, make_room=make_room),
            *with_less(items[half:], run, tokens, least=least, make_room=make_room),
        ]
    if tokens // 2 >= least:
        _note("fewer_tokens", told, items, tokens)
        return with_less(items, run, tokens // 2, least=least, make_room=make_room)
    _note("refused", told, items, tokens)
    return [Overloaded(f"memory does not suffice for a scene with {tokens} tokens of pictures ({told}); a smaller model may fit")]


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory is used up, on a device or on the host."""
    said = str(error).lower()
    of_torch = isinstance(error, RuntimeError) and any(words in said for words in _SAID)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or of_torch


def _note(what: str, told: str, items: Sequence[object], tokens: int) -> None:
    CAPTION_SHRUNK.labels(what).inc()
    log.warning("memory_used_up", then=what, scenes=len(items), tokens=tokens, cause=told)
