"""What every gRPC face shares: errors on the wire and back, the config that comes first, a stage behind a stream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from watchword.v1 import events_pb2, live_service_pb2, media_pb2, transcript_pb2
from watchword.v1.errors_pb2 import ErrorReason

from pipeline import errors
from pipeline.errors import (
    InternalError,
    MessageInvalid,
    MessageTooLarge,
    RequestInvalid,
    ServiceUnavailable,
    SettingInvalid,
    StreamUnknown,
    WatchwordError,
    reason_name,
)
from services import rpc
from services.settings import Settings

pytestmark = pytest.mark.unit

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WatchwordError) and not kind.__subclasses__()
]


def failed(code: grpc.StatusCode, details: str, status: status_pb2.Status | None = None) -> grpc.aio.AioRpcError:
    """A failed call as a client meets it."""
    trailing = grpc.aio.Metadata(*([(rpc.DETAILS_KEY, status.SerializeToString())] if status is not None else []))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_comes_through_a_call_as_itself(kind: type[WatchwordError]) -> None:
    status = rpc.status_of(kind("stream s: the cause"))
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    assert code not in (grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN)
    received = failed(code, status.message, status)
    assert rpc.reason_of(received) == reason_name(kind.reason)
    again = rpc.error_of(received, "here:1")
    assert type(again) is kind
    assert str(again) == "stream s: the cause"


def test_every_reason_has_a_status_that_fits_its_retry() -> None:
    assert {kind.reason for kind in KINDS} == set(ErrorReason.values()) - {ErrorReason.ERROR_REASON_UNSPECIFIED}
    for kind in KINDS:
        code = rpc.status_of(kind("")).code
        if kind.retryable:
            assert code in (grpc.StatusCode.UNAVAILABLE.value[0], grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])


def test_the_reason_travels_under_our_domain() -> None:
    info = error_details_pb2.ErrorInfo()
    (detail,) = rpc.status_of(StreamUnknown("stream s is not known")).details
    assert detail.Unpack(info)
    assert (info.domain, info.reason) == ("watchword", "STREAM_UNKNOWN")


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        (grpc.StatusCode.UNAVAILABLE, ServiceUnavailable, "nothing answers at here:1"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ServiceUnavailable, "here:1 did not answer in time"),
        (grpc.StatusCode.UNAUTHENTICATED, SettingInvalid, "set WATCHWORD_API_KEY"),
        (grpc.StatusCode.UNIMPLEMENTED, SettingInvalid, "is it the address of another service?"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, MessageTooLarge, "over a limit"),
        (grpc.StatusCode.UNKNOWN, InternalError, "failed"),
    ],
)
def test_a_call_that_fails_without_our_status_is_explained(code: grpc.StatusCode, kind: type[WatchwordError], told: str) -> None:
    error = rpc.error_of(failed(code, "what gRPC says"), "here:1")
    assert type(error) is kind
    assert told in str(error)
    assert "here:1" in str(error)
    assert rpc.reason_of(failed(code, "what gRPC says")) == ""


def test_of_all_that_was_tried_in_vain_the_cause_is_told() -> None:
    tried = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect: Connection refused"
    told = str(rpc.error_of(failed(grpc.StatusCode.UNAVAILABLE, tried), "here:1"))
    assert told == "nothing answers at here:1: is the service running? (Connection refused)"


def test_a_status_of_another_kind_has_no_reason() -> None:
    assert rpc.reason_of(failed(grpc.StatusCode.INTERNAL, "", status_pb2.Status(code=13, message="theirs"))) == ""


async def each(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def config(stream_id: str) -> live_service_pb2.IngestRequest:
    return live_service_pb2.IngestRequest(config=live_service_pb2.IngestConfig(stream_id=stream_id))


CHUNK = live_service_pb2.IngestRequest(chunk=media_pb2.MediaChunk(stream_id="s"))


def test_the_config_comes_first_and_the_rest_after_it() -> None:
    async def main() -> tuple[str, list[Any]]:
        first, rest = await rpc.after_config(each([config("s"), CHUNK, CHUNK]), "IngestRequest")
        return first.stream_id, [request async for request in rest]

    assert asyncio.run(main()) == ("s", [CHUNK, CHUNK])


@pytest.mark.parametrize(
    "requests",
    [[], [CHUNK], [live_service_pb2.IngestRequest()], [config("")], [config("a b")], [config("x" * 201)]],
    ids=["nothing", "a chunk", "an empty request", "no stream id", "a space", "too long"],
)
def test_requests_without_a_proper_config_are_refused(requests: list[Any]) -> None:
    with pytest.raises(RequestInvalid, match="IngestRequest"):
        asyncio.run(rpc.after_config(each(requests), "IngestRequest"))


class Echo:
    """A stage that repeats what is on its items, refuses the item "bad", and says so when it is closed."""

    held = 0

    def __init__(self) -> None:
        self.closed = 0

    async def process(self, item: Message) -> AsyncIterator[Message]:
        assert isinstance(item, events_pb2.TranscriptEvent)
        if item.segment.text == "bad":
            raise MessageInvalid("stream s: bad")
        yield item

    async def flush(self) -> AsyncIterator[Message]:
        yield said("last")

    def close(self) -> None:
        self.closed += 1


def said(text: str) -> events_pb2.TranscriptEvent:
    return events_pb2.TranscriptEvent(segment=transcript_pb2.TranscriptSegment(text=text))


async def heard(stage: Echo, *texts: str) -> list[str]:
    return [
        event.segment.text async for event in rpc.through(stage, each(map(said, texts))) if isinstance(event, events_pb2.TranscriptEvent)
    ]


def test_a_stage_is_flushed_and_closed_once() -> None:
    stage = Echo()
    assert asyncio.run(heard(stage, "a", "b")) == ["a", "b", "last"]
    assert stage.closed == 1


def test_a_stage_that_refuses_ends_the_call_and_is_closed() -> None:
    stage = Echo()
    with pytest.raises(MessageInvalid):
        asyncio.run(heard(stage, "a", "bad", "b"))
    assert stage.closed == 1


def make_pem(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    return path


@pytest.mark.parametrize("make_ca", [make_pem, lambda folder: folder / "gone.pem"])
def test_an_authority_that_is_none_is_refused_by_name(make_ca: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make_ca(tmp_path)
    with pytest.raises(SettingInvalid, match="WATCHWORD_TLS_CA") as refused:
        rpc.channel("127.0.0.1:1", Settings(tls_ca=path))
    assert str(path) in str(refused.value)
