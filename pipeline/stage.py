"""What every stage of the pipeline looks like to the code that runs it."""

from collections.abc import AsyncIterator, Callable
from typing import Protocol, runtime_checkable

from google.protobuf.message import Message


class Stage(Protocol):
    """One stream's share of one step: items in, zero or more items out, a last word at the end.

    Items and outputs are the messages of the topics (`pipeline.graph.TOPICS`), so an output's type says which of the
    step's topics it goes to; an `ErrorEvent` goes to the errors topic. The runtime never passes an `end`: it calls
    `flush` and ends the step's topics itself. The same items give the same outputs.
    """

    @property
    def held(self) -> int:
        """How many of the latest items must be read again after a crash for the stage to go on as if nothing happened.

        A stage that starts with these items must come to the state it has now. What it says while it reads them again
        is dropped by the readers, because they have seen an output that stems from the same or a later item.
        """
        ...

    def process(self, item: Message) -> AsyncIterator[Message]:
        """Take one item. A `WatchwordError` refuses this item only: it is reported, and the stream goes on."""
        ...

    def flush(self) -> AsyncIterator[Message]:
        """The stream has ended: say what is left to say."""
        ...

    def close(self) -> None:
        """Release what is held outside Python's memory; called once, whether flushed or not."""
        ...


@runtime_checkable
class Dated(Protocol):
    """A stage that wants to know when its stream began."""

    def began_at(self, unix_s: float) -> None:
        """Told before its first item: the wall clock at which the stream's first packet was sent, in Unix seconds."""
        ...


StageFactory = Callable[[str], Stage]
"""Makes the stage of the stream with the given id; models are shared, state is not."""
