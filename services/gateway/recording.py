"""A recording with its ranges (RFC 9110, section 14); one that cannot be given is refused as everything else is, as JSON."""

from starlette.responses import FileResponse, JSONResponse
from starlette.types import Message, Receive, Scope, Send


class Recording(FileResponse):
    """A file, or the range of it that is asked for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        refused: Message | None = None

        async def sending(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refused = message
            elif refused is None:
                await send(message)

        await super().__call__(scope, receive, sending)
        if refused is not None:
            told = {
                "reason": "REQUEST_INVALID",
                "message": "of this recording there is no such range: 'Range: bytes=FIRST-LAST' asks for one",
            }
            headers = {name.decode(): value.decode() for name, value in refused["headers"] if name == b"content-range"}
            await JSONResponse(told, refused["status"], headers)(scope, receive, send)
