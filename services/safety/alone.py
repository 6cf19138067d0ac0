"""The safety filter by itself: its gRPC face without a broker, with the audit in a store of its own."""

import asyncio

from google.protobuf.message import Message
from watchword.v1.events_pb2 import AuditEvent

from pipeline.bus import Bus, Context, Origin, Subscription
from pipeline.errors import InternalError
from pipeline.memory.open import open_store
from pipeline.memory.sql import SqlStore
from pipeline.safety.audit_log import AuditLog
from services.screening import audit_keys
from services.settings import Settings


class OwnAudit(Bus):
    """Stands where a bus would: what is told to the audit goes into the log at once, and nothing else is told or read."""

    def __init__(self, store: SqlStore, log: AuditLog) -> None:
        self._store, self._log = store, log

    @classmethod
    async def open(cls, settings: Settings) -> "OwnAudit":
        """The log in the database of `WATCHWORD_STORE`; raises `SettingInvalid` and `StoreUnavailable`."""
        keys = audit_keys(settings)
        store = await asyncio.to_thread(open_store, settings.store)
        return cls(store, AuditLog(store.database, key=keys.chain if keys is not None else b""))

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
        """Let go of the database."""
        await self._store.close()
