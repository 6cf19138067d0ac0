"""The id of an event over HTTP: how far a client has seen, and of which stream of that name: ids of streams are used again."""

from dataclasses import dataclass

from services.gateway.hub import Mark
from services.gateway.sse import ENDED


@dataclass(frozen=True)
class LastEvent:
    """What a client shows as `Last-Event-ID`, such as "57.2@1764181234500"; nothing at all where it comes for the first time."""

    token: str = ""
    """A resume token, or `ENDED`."""
    began: str = ""
    """When the stream began, in Unix milliseconds; empty where nobody knows."""

    @classmethod
    def read(cls, text: str) -> "LastEvent":
        """Raises `RequestInvalid` for what is none."""
        token, _, began = text.partition("@")
        if token != ENDED:
            Mark.parse(token)
        return cls(token, began)

    @classmethod
    def of(cls, token: str, started_at: float | None) -> "LastEvent":
        """An event of the stream that began at this Unix time."""
        return cls(token, "" if started_at is None else str(round(started_at * 1000)))

    @property
    def text(self) -> str:
        """As it is sent."""
        return f"{self.token}@{self.began}" if self.began else self.token

    def seen_of(self, started_at: float | None) -> str:
        """Its token for the stream that began at this time: nothing was seen of that one where it is another."""
        began = LastEvent.of("", started_at).began
        return self.token if not began or not self.began or began == self.began else ""
