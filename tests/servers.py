"""A real HTTP server with a script, in place of a server of models."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What a request is answered with."""

    status: int = 200
    parts: Sequence[bytes] = ()
    """The body, sent piece by piece."""
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    """Waited for before the last part is sent."""
    cut: bool = False
    """Whether the connection breaks off before the body's end."""


def of_json(body: object, status: int = 200) -> Reply:
    """A whole JSON answer."""
    return Reply(status, [json.dumps(body).encode()], {"Content-Type": "application/json"})


def streamed(*texts: str, finish: str = "stop", done: bool = True, size: int = 0, revision: str = "fp_7", **kwargs: Any) -> Reply:
    """A chat completion as server-sent events, one for each text, in pieces of `size` bytes or one for each event."""
    chunks: list[dict[str, Any]] = [{"delta": {"role": "assistant"}, "index": 0}]
    chunks += [{"delta": {"content": text}, "index": 0} for text in texts]
    chunks.append({"delta": {}, "index": 0, "finish_reason": finish})
    events = [{"object": "chat.completion.chunk", "model": "eye", "system_fingerprint": revision, "choices": [chunk]} for chunk in chunks]
    events.append({"object": "chat.completion.chunk", "model": "eye", "system_fingerprint": revision, "choices": [], "usage": {}})
    lines = [
        b": keep-alive\n\n",
        *(f"data: {json.dumps(event)}\n\n".encode() for event in events),
        *([b"data: [DONE]\n\n"] if done else []),
    ]
    body = b"".join(lines)
    parts = [body[start : start + size] for start in range(0, len(body), size)] if size else lines
    return Reply(parts=parts, headers={"Content-Type": "text/event-stream"}, **kwargs)


class ScriptedServer:
    """Answers each POST with the next reply of its script, the last one again and again, and notes what it was asked."""

    def __init__(self) -> None:
        self.script: list[Reply] = [of_json({})]
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.asked.append(body)
                    outer.paths.append(self.path)
                    outer.keys.append(self.headers["Authorization"])
                    reply = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                    outer._now += 1
                    outer.most_at_once = max(outer.most_at_once, outer._now)
                self._is_counted = True
                try:
                    self._answer(reply)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    self._leave()

            def _leave(self) -> None:
                """Nothing is under way here any more: before the last byte, for whoever has that may ask again at once."""
                with outer._lock:
                    outer._now -= self._is_counted
                    self._is_counted = False

            def _answer(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for number, part in enumerate(reply.parts):
                    is_last = number == len(reply.parts) - 1
                    if reply.hold is not None and is_last:
                        reply.hold.wait(10)
                    if is_last:
                        self._leave()
                    self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                    self.wfile.flush()
                if reply.cut:
                    self.close_connection = True
                else:
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """A server for as long as the context."""
    server = ScriptedServer()
    try:
        yield server
    finally:
        server.close()
