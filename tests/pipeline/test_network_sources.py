"""Sources behind real sockets on this machine: recordings over HTTP and HLS, and live sources that break off or stay silent."""

import asyncio
import functools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.errors import SourceInvalid, SourceUnavailable
from pipeline.media.chunks import media_start
from pipeline.media.publish import Retry, publish
from pipeline.media.source import open_source
from pipeline.timeline import MediaTime
from tests.synthetic import Spec, Tape, clip, playlist, published, text

pytestmark = pytest.mark.connected


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path, handler: type[Quiet] = Quiet) -> Iterator[str]:
    """The folder's files over HTTP."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("container", ["mp4", "ts", "mkv"])
def test_a_recording_over_http_is_sent_once_and_is_not_live(container: str) -> None:
    path = clip(Spec(container=container))
    with served(path.parent) as address:
        tape, error = published(f"{address}/{path.name}")
    assert error is None
    assert {record.context.live for record in tape.sent} == {False}
    here, _ = published(path)
    assert [len(piece.packets) for piece in tape.chunks("audio")] == [len(piece.packets) for piece in here.chunks("audio")]


def test_a_playlist_over_http(tmp_path: Path) -> None:
    segment = clip(Spec(container="ts"))
    (tmp_path / "0.ts").write_bytes(segment.read_bytes())
    (tmp_path / "index.m3u8").write_text("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXTINF:3.0,\n0.ts\n#EXT-X-ENDLIST\n")
    with served(tmp_path) as address:
        tape, error = published(f"{address}/index.m3u8")
    assert error is None
    assert sum(len(piece.packets) for piece in tape.chunks("video")) == 75


def test_a_live_playlist_over_http_is_read_from_its_latest_segment(tmp_path: Path) -> None:
    listed = playlist(clip(Spec(seconds=12)), tmp_path)
    whole = listed.read_text().replace("#EXT-X-PLAYLIST-TYPE:VOD\n", "")
    listed.write_text(whole.replace("#EXT-X-ENDLIST\n", ""))
    asked: list[str] = []

    class Live(Quiet):
        def do_GET(self) -> None:
            if self.path in asked:
                listed.write_text(whole)
            asked.append(self.path)
            super().do_GET()

    with served(tmp_path, Live) as address:
        tape, error = published(f"{address}/list.m3u8")
    assert error is None
    assert asked[:2] == ["/list.m3u8", "/5.ts"]
    assert {record.context.live for record in tape.sent} == {True}
    assert sum(len(piece.packets) for piece in tape.chunks("video")) == 50


def test_what_a_server_does_not_have_and_what_is_not_media() -> None:
    page = text()
    with served(page.parent) as address:
        _, missing = published(f"{address}/no-such.mp4")
        _, wrong = published(f"{address}/{page.name}")
    assert isinstance(missing, SourceUnavailable)
    assert "404" in str(missing)
    assert isinstance(wrong, SourceInvalid)


def test_a_server_that_stays_silent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(SourceUnavailable, match=r"did not answer within 0\.3 s"):
        open_source(f"http://127.0.0.1:{server.getsockname()[1]}/x.ts", open_timeout_s=0.3)


def test_a_live_connection_that_breaks_is_made_again() -> None:
    body = clip(Spec(container="ts")).read_bytes()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server:
            for _ in range(2):
                connection, _address = server.accept()
                with connection:
                    connection.sendall(body)

    thread = threading.Thread(target=serve)
    thread.start()
    tape = Tape()
    address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(SourceUnavailable, match="given up after 2 attempts"):
        asyncio.run(publish(address, tape, stream_id="s", retry=Retry(attempts=2, first_wait_s=0.02)))  # type: ignore[arg-type]
    thread.join()
    pieces = tape.chunks("audio")
    assert len({piece.epoch for piece in pieces}) == 2
    assert {record.context.live for record in tape.sent} == {True}
    (gap, same) = (record.value.gap for record in tape.of("gap"))
    assert gap == same
    first_after = next(piece for piece in pieces if piece.epoch != pieces[0].epoch)
    assert media_start(first_after) >= MediaTime.from_proto(gap.media_start)
