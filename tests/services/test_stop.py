"""A service that is asked to stop does so soon, also when the broker is gone, and says what that costs."""

import time
import urllib.request

import pytest

from pipeline.bus.broker import Broker, answers
from tests.processes import DEMO, free_address, running, watchword

pytestmark = pytest.mark.connected

STOPPED_S = 25.0
"""It takes about 3 s, longer on a busy machine; without a bound it takes two or three times the broker's 30 s of patience."""


def page(url: str) -> str:
    with urllib.request.urlopen(url) as response:
        return str(response.read().decode())


def test_without_its_broker_a_service_stops_soon_and_says_that_it_could_not_commit() -> None:
    metrics = free_address()
    with Broker(port=0) as broker:
        env = {"WATCHWORD_KAFKA": broker.address, "WATCHWORD_LISTEN": "127.0.0.1:0", "WATCHWORD_METRICS_PORT": metrics.split(":")[1]}
        with running("serve", "sampler", env=env) as sampler:
            sampler.wait_for("serving on")
            assert watchword("publish", DEMO, "--stream", "talk", "--kafka", broker.address, "--speed", "max").returncode == 0
            deadline = time.monotonic() + 60
            while 'watchword_records_in_total{step="sample"}' not in page(f"http://{metrics}/metrics"):
                assert time.monotonic() < deadline, "the sampler reads what was published"
            broker.kill()
            asked = time.monotonic()
            assert sampler.stop() == 0
            took = time.monotonic() - asked
    said = "".join(sampler.output)
    assert "stopped_without_commit" in said
    assert "a little is read again at the next start" in said
    assert took < STOPPED_S


def test_a_broker_that_is_asked_to_stop_takes_its_process_along() -> None:
    address = free_address()
    host, _, port = address.rpartition(":")
    with running("broker", "--listen", address, env={}) as broker:
        assert broker.wait_for("broker: ").startswith(f"broker: listening on {address}")
        assert answers(host, int(port), timeout_s=60)
        assert broker.stop() == 0
    assert broker.output == [f"broker: listening on {address}, records in memory until it is stopped\n"], "and nothing else is printed"
    assert not answers(host, int(port))
