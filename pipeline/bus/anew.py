"""Begin again where the broker is not what it was: one that came back empty, or a topic that was made anew."""

from collections.abc import Awaitable, Callable

import structlog

from pipeline import telemetry
from pipeline.errors import BrokerRenewed

log = structlog.get_logger(__name__)


async def begin_anew(reader: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, and do it again each time it raises `BrokerRenewed`, which is counted and logged."""
    while True:
        try:
            return await work()
        except BrokerRenewed as error:
            telemetry.BEGUN_ANEW.labels(reader).inc()
            log.warning("begun_anew", reader=reader, cause=str(error))
