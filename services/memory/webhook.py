"""Alerts to a web address: signed, tried again, each recognisable when it comes twice.

The body is JSON. `Watchword-Signature` is "t=UNIX,v1=HEX": HMAC-SHA256 with the shared secret over "UNIX.BODY".
`Idempotency-Key` is the alert's id: whoever has seen it may drop the repeat.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from pipeline import telemetry
from pipeline.qa.standing import Alert
from pipeline.served import RETRYABLE, checked
from services.alerts import as_json, to_proto

WAITING = 256
"""How many alerts wait for an address at most; the oldest goes first, and is counted."""
ATTEMPTS = 6
FIRST_PAUSE_S = 0.5
"""Doubled with each attempt."""
TIMEOUT_S = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Target:
    """Where alerts go."""

    url: str
    secret: bytes


class Webhook:
    """Delivers alerts to one address in their order; `run` must be running."""

    def __init__(self, target: Target, *, clock: Callable[[], float] = time.time, first_pause_s: float = FIRST_PAUSE_S) -> None:
        """Raises `SettingInvalid` for something that is no URL."""
        self._target = Target(checked(target.url, what="webhook"), target.secret)
        self._clock, self._first_pause_s = clock, first_pause_s
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(WAITING)

    def tell(self, alert: Alert) -> None:
        """Take an alert; does not wait."""
        if self._waiting.full():
            self._waiting.get_nowait()
            telemetry.ALERTS.labels("webhook", "dropped").inc()
        self._waiting.put_nowait(alert)

    async def run(self) -> None:
        """Deliver until cancelled."""
        import httpx2

        async with httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client:
            while True:
                alert = await self._waiting.get()
                outcome = await self._deliver(client, alert)
                telemetry.ALERTS.labels("webhook", outcome).inc()

    async def _deliver(self, client: Any, alert: Alert) -> str:
        """What became of it: "delivered", "refused" for good, or "failed" after all attempts."""
        import httpx2

        body = json.dumps({"standing": alert.standing.name, **as_json(to_proto(alert))}, ensure_ascii=False, separators=(",", ":")).encode()
        cause = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._first_pause_s * 2 ** (attempt - 1))
            try:
                # Only the status counts: what the server says with it is not read, whatever it is and however long.
                async with client.stream("POST", self._target.url, content=body, headers=self._headers(alert, body)) as response:
                    pass
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                cause = f"{type(error).__name__}: {error}"
                continue
            if response.is_success:
                return "delivered"
            cause = f"status {response.status_code}"
            if response.status_code not in RETRYABLE:
                log.warning("alert.refused", alert=alert.id, standing=alert.standing.name, cause=cause)
                return "refused"
        log.warning("alert.failed", alert=alert.id, standing=alert.standing.name, attempts=ATTEMPTS, cause=cause)
        return "failed"

    def _headers(self, alert: Alert, body: bytes) -> dict[str, str]:
        """Signed anew at each attempt, so that a receiver may refuse what is old."""
        return {
            "Content-Type": "application/json",
            "Idempotency-Key": alert.id,
            "Watchword-Signature": signature(self._target.secret, int(self._clock()), body),
        }


def signature(secret: bytes, unix_s: int, body: bytes) -> str:
    """What the header holds."""
    digest = hmac.new(secret, b"%d." % unix_s + body, hashlib.sha256).hexdigest()
    return f"t={unix_s},v1={digest}"
