"""A cluster of brokers as both directions see it: where it is, how it is spoken to, and whether it is there."""

import asyncio
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import NoError, TopicAlreadyExistsError, for_code

from pipeline.errors import BrokerUnavailable

HEADROOM_BYTES = 64_000
"""For the key and the headers of a record."""
CALL_TIMEOUT_MS = 3_000
_CLOSE_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_GONE_S = 0.5
"""The same where the broker is gone."""


@dataclass(frozen=True)
class Cluster:
    """A cluster: `options` are kafka-python's, for every client, and `patience_s` is how long it may stay away."""

    address: str
    options: Mapping[str, Any]
    patience_s: float

    def unavailable(self, what: str, error: BaseException | None) -> BrokerUnavailable:
        """The error to raise: what cannot be done, and why."""
        cause = f"{type(error).__name__}: {error}" if error else f"no answer for {self.patience_s:g} s"
        return BrokerUnavailable(f"{what}: the broker at {self.address} does not serve ({cause})")

    async def closing_s(self) -> float:
        """How long what has to be said to the broker may take now: next to nothing where nobody listens."""
        try:
            await asyncio.to_thread(self.wait, 0.0)
        except (OSError, ValueError):
            return _CLOSE_TIMEOUT_GONE_S
        return _CLOSE_TIMEOUT_S

    def wait(self, timeout_s: float) -> None:
        """Return as soon as one of the addresses takes a connection; each is tried at least once. Raises `OSError` or `ValueError`."""
        addresses = [one.strip().rpartition(":") for one in self.address.split(",")]
        each_s = max(timeout_s / len(addresses), _CLOSE_TIMEOUT_GONE_S)
        deadline = time.monotonic() + timeout_s
        while True:
            for host, _, port in addresses:
                try:
                    socket.create_connection((host.strip("[]"), int(port)), each_s).close()
                    return
                except OSError as error:
                    failure = error
            if time.monotonic() > deadline:
                raise failure
            time.sleep(0.1)

    def create_missing(self, partitions: Mapping[str, int], settings: Mapping[str, str]) -> None:
        """Create the topics that are missing; one replica is all that one machine has, clusters declare their topics beforehand."""
        admin = KafkaAdminClient(**self.options)
        try:
            missing = sorted(set(partitions) - set(admin.list_topics()))
            wanted = {name: {"num_partitions": partitions[name], "replication_factor": -1, "configs": dict(settings)} for name in missing}
            if not wanted:
                return
            for topic in admin.create_topics(wanted, raise_errors=False)["topics"]:
                if topic["error_code"] not in (NoError.errno, TopicAlreadyExistsError.errno):
                    raise for_code(topic["error_code"])(f"{topic['name']} cannot be created: {topic['error_message']}")
            admin.wait_for_topics(missing)
        finally:
            admin.close()
