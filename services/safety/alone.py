"""The safety filter by itself: its gRPC face without a broker, with the audit in a file of its own."""

import asyncio

from google.protobuf.message import Message
from watchword.v1.events_pb2 import AuditEvent

from pipeline.bus import Bus, Context, Origin, Subscription
from pipeline.errors import InternalError
from pipeline.safety.audit_log import AuditLog
from services.screening import audit_keys
from services.settings import Settings


class AuditFile(Bus):
    """Stands where a bus would: what is told to the audit goes into the log at once, and nothing else is told or read."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    @classmethod
    async def open(cls, settings: Settings) -> "AuditFile":
        """The log in the file of `WATCHWORD_STORE`; raises `SettingInvalid`."""
        keys = audit_keys(settings)
        return cls(await asyncio.to_thread(AuditLog, settings.store, key=keys.chain if keys is not None else b""))

    async def publish(
        self, topic: str, stream_id: str, value: Message, *, origin: Origin | None = None, context: Context = Context()
    ) -> None:
        """Keep the record of a call."""
        if not isinstance(value, AuditEvent) or value.WhichOneof("event") != "called":
            raise InternalError(f"a filter by itself has no topic {topic}")
        await self._log.append(value.called.record)

    async def subscribe(self, topic: str, group: str) -> Subscription:
        """There is nothing to read."""
        raise InternalError(f"a filter by itself has no topic {topic}")

    async def follow(self, topic: str) -> Subscription:
        """There is nothing to read."""
        raise InternalError(f"a filter by itself has no topic {topic}")

    async def close(self) -> None:
        """Let go of the log."""
        await self._log.close()
