"""Pulling over HTTP, from a server that speaks the hub's protocol."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.errors import ModelMismatch, ModelMissing
from pipeline.models import HubSource, Model, ModelFile, locate
from pipeline.models.pull import from_hub, pull

pytestmark = pytest.mark.connected

REVISION = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 4000


class Hub(BaseHTTPRequestHandler):
    """Serves someone/tiny at one revision; breaks the first download off in the middle if asked to."""

    server: "HubServer"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        name = self.path.removeprefix(f"/someone/tiny/resolve/{REVISION}/")
        if self.server.refuse is not None:
            self.send_response(self.server.refuse)
            if self.server.error_code:
                self.send_header("X-Error-Code", self.server.error_code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.server.files[name]
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if body:
            self.server.ranges.append((name, first))
        self.send_response(206 if first else 200)
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body and self.server.break_off:
            self.server.break_off = False
            self.wfile.write(content[first : len(content) // 2])
            self.close_connection = True
        elif body:
            self.wfile.write(content[first:])


class HubServer(ThreadingHTTPServer):
    def __init__(self, files: dict[str, bytes], *, break_off: bool = False, refuse: int | None = None, error_code: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Hub)
        self.files = files
        self.break_off = break_off
        self.refuse = refuse
        self.error_code = error_code
        self.ranges: list[tuple[str, int]] = []


@contextmanager
def serving(server: HubServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tiny(**files: bytes | None) -> dict[str, Model]:
    listed = tuple(
        ModelFile(name.replace("_", "."), None if content is None else len(content), content and hashlib.sha256(content).hexdigest())  # type: ignore[arg-type]
        for name, content in files.items()
    )
    return {"tiny": Model("tiny", "test", "", HubSource("someone/tiny", REVISION), listed, "MIT", "")}


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)


def test_a_model_is_pulled_and_verified(tmp_path: Path) -> None:
    catalog = tiny(model_onnx=WEIGHTS, config_json=b"{}")
    with serving(HubServer({"model.onnx": WEIGHTS, "config.json": b"{}"})) as endpoint:
        pulled = pull("tiny", catalog=catalog, cache=tmp_path, fetch=from_hub(endpoint))
    assert locate("tiny", catalog=catalog, cache=tmp_path) == pulled.directory
    assert sorted(path.name for path in pulled.directory.iterdir()) == ["config.json", "model.onnx"]
    assert pulled.trusted == ()
    # Nothing but the model is left, and once it is here nobody is asked again.
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [pulled.directory.name]
    assert pull("tiny", catalog=catalog, cache=tmp_path, fetch=from_hub("http://127.0.0.1:1")).directory == pulled.directory


def test_a_download_that_breaks_off_is_resumed_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server = HubServer({"model.onnx": WEIGHTS}, break_off=True)
    with serving(server) as endpoint:
        pull("tiny", catalog=tiny(model_onnx=WEIGHTS), cache=tmp_path, fetch=from_hub(endpoint))
    assert server.ranges == [("model.onnx", 0), ("model.onnx", len(WEIGHTS) // 2)]


def test_what_the_hub_serves_must_be_what_the_catalog_names(tmp_path: Path) -> None:
    catalog = tiny(model_onnx=WEIGHTS)
    other = WEIGHTS[::-1]
    expected = pytest.raises(ModelMismatch, match=hashlib.sha256(other).hexdigest())
    with serving(HubServer({"model.onnx": other})) as endpoint, expected:
        pull("tiny", catalog=catalog, cache=tmp_path, fetch=from_hub(endpoint))
    # The wrong file was not kept, so the next pull fetches the right one.
    with serving(HubServer({"model.onnx": WEIGHTS})) as endpoint:
        pull("tiny", catalog=catalog, cache=tmp_path, fetch=from_hub(endpoint))
    assert locate("tiny", catalog=catalog, cache=tmp_path)


def test_a_hub_that_cannot_be_reached_names_the_other_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The hub's client waits longer before each of its tries.
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(ModelMissing, match=r"model\.onnx of someone/tiny .* could not be fetched.*models pull tiny --from DIR"):
        pull("tiny", catalog=tiny(model_onnx=None), cache=tmp_path, fetch=from_hub("http://127.0.0.1:1"))


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (403, "GatedRepo", "someone/tiny is gated; accept its terms"),
        (404, "RevisionNotFound", f"the hub has no model.onnx of someone/tiny at {REVISION} .RevisionNotFoundError"),
        (404, "EntryNotFound", "EntryNotFoundError.; check the catalog entry"),
        (404, "RepoNotFound", "RepositoryNotFoundError.; check the catalog entry"),
        (401, "", "HTTP 401; set HF_TOKEN"),
    ],
)
def test_a_refusal_of_the_hub_is_told_as_what_it_is(status: int, code: str, cause: str, tmp_path: Path) -> None:
    with serving(HubServer({}, refuse=status, error_code=code)) as endpoint, pytest.raises(ModelMissing, match=cause):
        pull("tiny", catalog=tiny(model_onnx=None), cache=tmp_path, fetch=from_hub(endpoint))
