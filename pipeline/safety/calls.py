"""Telling the audit of verdicts that belong to no step: of questions, answers and calls.

They go over the same topic into the same log, under a key of the process that was asked: a stream's own key takes nothing after
the stream's end, and questions are asked for as long as somebody remembers it.
"""

import secrets
from itertools import count

import structlog
from watchword.v1.events_pb2 import AuditEvent, CalledRecord
from watchword.v1.safety_pb2 import AuditRecord

from pipeline import telemetry
from pipeline.bus import Bus, Origin, Position
from pipeline.errors import BrokerRenewed, WatchwordError, reason_name

_log = structlog.get_logger(__name__)

STEP = "call"
"""The step's name in the origins of such records."""


class CalledAudit:
    """Puts records on the topic `audit`."""

    def __init__(self, bus: Bus, service: str) -> None:
        self._bus = bus
        self._key = f"calls.{service}.{secrets.token_hex(6)}"
        self._numbers = count()

    async def tell(self, record: AuditRecord) -> None:
        """Publish a record; where the bus does not take it, that is logged and counted, and who asked is answered all the same."""
        origin = Origin(STEP, Position(0, next(self._numbers)))
        event = AuditEvent(called=CalledRecord(record=record))
        try:
            try:
                await self._bus.publish("audit", self._key, event, origin=origin)
            except BrokerRenewed:
                await self._bus.publish("audit", self._key, event, origin=origin)  # it belongs to no stream, so nothing before it is lost
        except WatchwordError as error:
            telemetry.ERRORS.labels(STEP, reason_name(error.reason)).inc()
            _log.error("audit_lost", id=record.id, stream=record.stream_id, subject=record.subject, cause=str(error))
