"""The id of an event over HTTP: how far a client has seen, and of which stream of that name: ids of streams are used again."""

from dataclasses import dataclass

from pipeline.errors import RequestInvalid
from services.gateway.hub import Mark
from services.gateway.sse import ENDED


@dataclass(frozen=True)
class LastEvent:
    """What a client shows as `Last-Event-ID`, such as "57.2@1764181234500"; nothing at all where it comes for the first time."""

    token: str = ""
    """A resume token, or `ENDED`."""
    began_ms: int | None = None
    """When the stream began, in Unix milliseconds, where that is known."""

    @classmethod
    def read(cls, text: str) -> "LastEvent":
        """Raises `RequestInvalid` for what is none."""
        token, at, began = text.partition("@")
        if token != ENDED:
            Mark.parse(token)
        if at and not (began.isdecimal() and len(began) < 16):
            raise RequestInvalid(f"{text[:50]!r} is no id of an event of this service; leave it out to start from the oldest that is kept")
        return cls(token, int(began) if at else None)

    @classmethod
    def of(cls, token: str, started_at: float | None) -> "LastEvent":
        """An event of the stream that began at this Unix time."""
        return cls(token, round(started_at * 1000) if started_at is not None else None)

    @property
    def text(self) -> str:
        """As it is sent."""
        return f"{self.token}@{self.began_ms}" if self.began_ms is not None else self.token

    def seen_of(self, started_at: float | None) -> str:
        """Its token for the stream that began at this time: nothing was seen of that one where it is another."""
        if started_at is None or self.began_ms is None:
            return self.token
        # The time was rounded on its way here.
        return self.token if abs(self.began_ms - started_at * 1000) < 2 else ""
