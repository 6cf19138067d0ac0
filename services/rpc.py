"""What every gRPC face shares: a stage behind a stream, errors as statuses, keys, channels."""

import hmac
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from watchword.v1.errors_pb2 import ErrorReason

from pipeline.bus import MAX_MESSAGE_BYTES
from pipeline.bus.codec import STREAM_ID
from pipeline.errors import (
    InternalError,
    MediaUndecodable,
    MessageTooLarge,
    RequestInvalid,
    ServiceUnavailable,
    SettingInvalid,
    WatchwordError,
    named,
    reason_name,
)
from pipeline.stage import Stage
from services.settings import Settings

log = structlog.get_logger(__name__)

DOMAIN = "watchword"
"""The domain of every `google.rpc.ErrorInfo`."""

DETAILS_KEY = "grpc-status-details-bin"
"""Where a rich status travels, by the gRPC convention."""

ACCEPTED = ("watchword-accepted", "true")
"""What a call that lasts is answered with as soon as it is taken: a call that is refused, or never arrives, has initial metadata too."""

MESSAGE_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES + 100_000),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES + 100_000),
]
"""A message on a call may be as large as one on the bus, and a little more for what a call wraps around it."""

CODES = {
    ErrorReason.ERROR_REASON_SOURCE_UNAVAILABLE: code_pb2.UNAVAILABLE,
    ErrorReason.ERROR_REASON_BROKER_UNAVAILABLE: code_pb2.UNAVAILABLE,
    ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE: code_pb2.UNAVAILABLE,
    ErrorReason.ERROR_REASON_STORE_UNAVAILABLE: code_pb2.UNAVAILABLE,
    ErrorReason.ERROR_REASON_STREAM_UNKNOWN: code_pb2.NOT_FOUND,
    ErrorReason.ERROR_REASON_CONVERSATION_UNKNOWN: code_pb2.NOT_FOUND,
    ErrorReason.ERROR_REASON_CLIENT_SLOW: code_pb2.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_OVERLOADED: code_pb2.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE: code_pb2.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_STREAM_ENDED: code_pb2.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_MODEL_MISSING: code_pb2.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_MODEL_MISMATCH: code_pb2.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_CODEC_UNSUPPORTED: code_pb2.UNIMPLEMENTED,
    ErrorReason.ERROR_REASON_INTERNAL: code_pb2.INTERNAL,
}
"""The status code of each reason; the others are the caller's: INVALID_ARGUMENT."""

ServicerContext = grpc.aio.ServicerContext[Any, Any]


async def through(
    stage: Stage, items: AsyncIterator[Message], refused: Callable[[MediaUndecodable], object] | None = None
) -> AsyncGenerator[Message, None]:
    """Send one stream's items through a stage and tell what it says; the stage is closed in the end.

    Items that cannot be decoded end it, unless `refused` is to be told of them: then they are passed over.
    """
    try:
        async for item in items:
            try:
                async for said in stage.process(item):
                    yield said
            except MediaUndecodable as error:
                if refused is None:
                    raise
                refused(error)
        async for said in stage.flush():
            yield said
    except (WatchwordError, grpc.RpcError):
        raise
    except Exception as error:
        log.exception("stage_failed", stage=type(stage).__name__)
        raise InternalError(f"{type(stage).__name__} failed: {error!r}") from error
    finally:
        stage.close()


def status_of(error: WatchwordError) -> status_pb2.Status:
    """The error as a rich status: a code, the message, and an `ErrorInfo` with the reason."""
    info = error_details_pb2.ErrorInfo(reason=reason_name(error.reason), domain=DOMAIN)
    detail = AnyMessage()
    detail.Pack(info)
    return status_pb2.Status(code=CODES.get(error.reason, code_pb2.INVALID_ARGUMENT), message=str(error), details=[detail])


async def abort(context: ServicerContext, error: WatchwordError) -> NoReturn:
    """End the call with the error's status."""
    status = rpc_status.to_status(status_of(error))
    await context.abort(status.code, status.details or "", status.trailing_metadata or ())


async def accept(context: ServicerContext) -> None:
    """Tell the caller, before there is anything else to say, that the call is taken."""
    await context.send_initial_metadata((ACCEPTED,))


async def is_accepted(call: "grpc.aio.UnaryStreamCall[Any, Any]") -> bool:
    """Whether the call is taken, as soon as that is known; what keeps it from being taken is raised where the call is read."""
    return ACCEPTED in tuple(await call.initial_metadata())


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason in a failed call's status, such as "STREAM_UNKNOWN"; empty where the server gave none."""
    info = error_details_pb2.ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            status = status_pb2.Status.FromString(value if isinstance(value, bytes) else value.encode("latin-1"))
            if any(detail.Unpack(info) for detail in status.details):
                return str(info.reason)
    return ""


def error_of(error: grpc.aio.AioRpcError, address: str) -> WatchwordError:
    """A failed call as one of our errors: what the server said, or why the call did not come to it."""
    reason, said = reason_of(error), error.details() or error.code().name
    if reason:
        return named(reason)(said)
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            # gRPC tells what it tried, and what each try met with; the last is the cause.
            return ServiceUnavailable(f"nothing answers at {address}: is the service running? ({said.rpartition(': ')[2].strip('[]')})")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServiceUnavailable(f"{address} did not answer in time")
        case grpc.StatusCode.UNAUTHENTICATED:
            return SettingInvalid(
                f"{address} refuses the call: {said}; set WATCHWORD_API_KEY, and WATCHWORD_TLS_CA because a key is sent over TLS only"
            )
        case grpc.StatusCode.UNIMPLEMENTED:
            return SettingInvalid(f"what answers at {address} does not know this call: is it the address of another service? ({said})")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return MessageTooLarge(f"the call to {address} is over a limit: {said}")
        case _:
            return InternalError(f"the call to {address} failed: {said}")


async def after_config(requests: AsyncIterator[Any], kind: str) -> tuple[Any, AsyncIterator[Any]]:
    """The config that must come first, and the requests after it.

    Raises `RequestInvalid` where the first request is no config, or the config names no stream.
    """
    first = await anext(aiter(requests), None)
    if first is None or first.WhichOneof("request") != "config":
        raise RequestInvalid(f"the first {kind} must be a config that names the stream")
    if not STREAM_ID.fullmatch(first.config.stream_id):
        raise RequestInvalid(f"the config of a {kind} must name the stream: 1 to 200 letters, digits, '.', '_', '-' and ':'")
    return first.config, requests


def bearer(api_key: str) -> str:
    """What a caller that has the key shows as "authorization"."""
    return f"Bearer {api_key}"


class KeyInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls that do not show the API key; health checks need none."""

    def __init__(self, api_key: str) -> None:
        self._expected = bearer(api_key)

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Pass a call on, or answer it with UNAUTHENTICATED."""
        if handler_call_details.method.startswith("/grpc.health."):
            return await continuation(handler_call_details)
        shown = dict(handler_call_details.invocation_metadata).get("authorization", "")
        if hmac.compare_digest(str(shown).encode(), self._expected.encode()):
            return await continuation(handler_call_details)
        handler = await continuation(handler_call_details)
        return _refusal(handler)


def _refusal(handler: Any) -> Any:
    async def refuse(_: Any, context: ServicerContext) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the call must show this server's key: 'authorization: Bearer KEY'")

    async def refuse_stream(_: Any, context: ServicerContext) -> AsyncIterator[Message]:
        await refuse(_, context)
        return
        yield

    if handler is None:
        return None
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    return make(refuse_stream if handler.response_streaming else refuse, handler.request_deserializer, handler.response_serializer)


def channel(address: str, settings: Settings) -> grpc.aio.Channel:
    """A channel to a service of ours: over TLS with the key where an authority is set, else plain.

    Raises `SettingInvalid` where the authority's file holds no certificate.
    """
    if settings.tls_ca is None:
        return grpc.aio.insecure_channel(address, options=MESSAGE_OPTIONS)
    try:
        ssl.create_default_context(cafile=settings.tls_ca)
        credentials = grpc.ssl_channel_credentials(settings.tls_ca.read_bytes())
    except (ssl.SSLError, OSError) as error:
        raise SettingInvalid(f"WATCHWORD_TLS_CA={settings.tls_ca} is no certificate in PEM form: {error}") from error
    if settings.api_key:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(settings.api_key))
    return grpc.aio.secure_channel(address, credentials, options=MESSAGE_OPTIONS)
