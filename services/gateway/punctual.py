"""HTTP/1.1 for clients that say what they want within a while, and hanging up on others: they would take the place of who does.

uvicorn waits forever for the end of a request's headers, and for the rest of a body whose request has been refused.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 20.0
"""How long a connection may be open, or go on after an answer, without a whole request, its body left out."""


class Punctual(H11Protocol):
    """One connection."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has come."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """A part of a request, or several requests."""
        super().data_received(data)
        if self._is_answering:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """All has been answered, or the next request is here already."""
        self._wait()
        super().on_response_complete()
        if self._is_answering or self.transport.is_closing():
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._stop_waiting()
        self._late = self.loop.call_later(REQUEST_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
