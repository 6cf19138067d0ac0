"""Bad input to the commands, as real processes: an exit status that is not 0 and one clear line, and what could be used is still told."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest

from pipeline.models import load_catalog
from services.cli.run import id_of
from tests import synthetic
from tests.processes import COMMAND, DEMO, Event, of_type, read_events, watchword
from tests.synthetic import Spec, clip

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

FULL_DISK = "/dev/full"
NOBODY = "127.0.0.1:1"
"""An address at which nothing listens."""
FAILED, WRONG_USE, INCOMPLETE = 1, 2, 3
Kind = Literal["audio", "video"]


def refusal(done: subprocess.CompletedProcess[str], reason: str, *, status: int = FAILED) -> str:
    """The one line with which a command fails."""
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("watchword: ")
    assert lines[0].endswith(f" [{reason}]"), lines[0]
    return lines[0]


def empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def subtitles_only(folder: Path) -> Path:
    path = folder / "only.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n\n")
    return path


def unknown_codec_mp4(_: Path) -> Path:
    return synthetic.with_bytes(clip(Spec(seconds=2, audio=None)), {b"avc1": b"zz9x"})


def unknown_codec_mkv(_: Path) -> Path:
    return synthetic.with_bytes(clip(Spec(seconds=2, audio=None, container="mkv")), {b"V_MPEG4/ISO/AVC": b"V_MPEG9/ISO/XYZ"})


def without_its_index(_: Path) -> Path:
    return synthetic.truncated(clip(Spec(seconds=2)), 0.7)


@pytest.mark.parametrize(
    ("make", "reason", "cause"),
    [
        (lambda folder: folder / "nosuch.mp4", "SOURCE_UNAVAILABLE", "does not exist"),
        (lambda folder: folder, "SOURCE_INVALID", "is not a file"),
        (lambda _: synthetic.text(), "SOURCE_INVALID", "is not media"),
        (lambda _: synthetic.garbage(".ts"), "SOURCE_INVALID", "is not media"),
        (empty, "SOURCE_INVALID", "is empty"),
        (subtitles_only, "TRACK_MISSING", "neither a sound track nor moving pictures"),
        (unknown_codec_mp4, "CODEC_UNSUPPORTED", "no decoder here knows the video codec zz9x"),
        (unknown_codec_mkv, "CODEC_UNSUPPORTED", "no decoder here knows the video codec V_MPEG9/ISO/XYZ"),
        (without_its_index, "SOURCE_TRUNCATED", "its index (moov) is missing"),
    ],
    ids=["missing", "directory", "text", "garbage", "empty", "neither track", "unknown mp4", "unknown mkv", "no index"],
)
def test_a_source_that_cannot_be_used_is_refused_before_models_are_loaded(
    make: Callable[[Path], Path], reason: str, cause: str, tmp_path: Path
) -> None:
    source = make(tmp_path)
    done = watchword("run", source)
    told = refusal(done, reason)
    assert str(source) in told
    assert cause in told
    assert done.stdout == ""


@pytest.mark.parametrize("speed", ["0", "-1", "abc", "nan", "1e9"])
def test_a_speed_that_makes_no_sense_is_refused(speed: str, tmp_path: Path) -> None:
    told = refusal(watchword("run", tmp_path / "never-opened.mp4", f"--speed={speed}"), "SETTING_INVALID", status=WRONG_USE)
    assert f"--speed {speed}" in told
    assert "or max is needed" in told


@pytest.mark.parametrize(
    ("arguments", "env", "reason", "causes"),
    [
        (["serve", "nosuch"], {}, "SETTING_INVALID", ["'nosuch'", "transcriber", "gateway"]),
        (["serve", "safety"], {"WATCHWORD_PARTITIONS": "abc"}, "SETTING_INVALID", ["WATCHWORD_PARTITIONS", "'abc'", "whole number"]),
        (["serve", "safety"], {"WATCHWORD_LISTEN": "0.0.0.0:0"}, "SETTING_INVALID", ["WATCHWORD_LISTEN", "WATCHWORD_API_KEY"]),
        (["serve", "transcriber"], {"WATCHWORD_MODEL": "no/such"}, "SETTING_INVALID", ["WATCHWORD_MODEL", "no directory"]),
        (["run", str(DEMO), "--language", "de_DE"], {}, "SETTING_INVALID", ["--language de_DE", "BCP 47"]),
        (["run", str(DEMO), "--language", "de"], {}, "SETTING_INVALID", ['"de"', "whisper-tiny.en knows only English"]),
        (["run", str(DEMO)], {"WATCHWORD_TRANSLATE": "true"}, "SETTING_INVALID", ["WATCHWORD_TRANSLATE", "multilingual"]),
        (["watch", "x", "--no-wait"], {"WATCHWORD_TLS_CA": __file__}, "SETTING_INVALID", ["WATCHWORD_TLS_CA", "no certificate"]),
        (["watch", "x", "--gateway", "here"], {}, "SETTING_INVALID", ["'here'", "host:port"]),
        (["ask", "x", "who?", "--gateway", "here"], {}, "SETTING_INVALID", ["'here'", "host:port"]),
        (["health", "nosuch"], {}, "SETTING_INVALID", ["'nosuch'", "host:port"]),
        (["publish", str(DEMO), "--stream", "s", "--kafka", "here"], {}, "SETTING_INVALID", ["'here'", "host:port"]),
    ],
    ids=[
        "service",
        "partitions",
        "beyond loopback",
        "model",
        "language",
        "unknown language",
        "translation",
        "authority",
        "watch",
        "ask",
        "health",
        "publish",
    ],
)
def test_a_setting_that_is_wrong_is_named(arguments: list[str], env: dict[str, str], reason: str, causes: list[str]) -> None:
    told = refusal(watchword(*arguments, env=env), reason, status=WRONG_USE)
    for cause in causes:
        assert cause in told


@pytest.mark.parametrize("arguments", [["watch", "x", "--no-wait"], ["watch", "x"], ["ask", "x", "Who plays the piano?"]], ids=" ".join)
def test_without_a_gateway_a_viewer_is_told_so(arguments: list[str]) -> None:
    told = refusal(watchword(*arguments, "--gateway", NOBODY), "SERVICE_UNAVAILABLE")
    assert f"nothing answers at {NOBODY}: is the service running?" in told


def test_a_model_that_the_catalog_does_not_have_is_refused_with_those_it_has() -> None:
    told = refusal(watchword("models", "pull", "nosuch"), "MODEL_MISSING")
    assert "'nosuch'" in told
    assert "whisper-tiny.en" in told


def test_a_broker_that_is_not_there_is_told_in_time() -> None:
    commands: list[list[str]] = [["publish", str(clip()), "--stream", "s", "--kafka", NOBODY], ["serve", "safety"]]
    begun = time.monotonic()
    # At the same time, because each waits for a broker that may be just coming up.
    processes = [
        subprocess.Popen(
            [*COMMAND, *command],
            env={**os.environ, "WATCHWORD_KAFKA": NOBODY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=DEMO.parents[1],
        )
        for command in commands
    ]
    for command, process in zip(commands, processes, strict=True):
        out, err = process.communicate(timeout=120)
        told = refusal(subprocess.CompletedProcess(command, process.returncode, out, err), "BROKER_UNAVAILABLE")
        assert NOBODY in told
        assert "is it running?" in told
        assert out == ""
    assert time.monotonic() - begun < 90


@dataclass(frozen=True)
class Package:
    """A copy of a model's package, which stands before the real one."""

    folder: Path
    file: Path
    model: str


@pytest.fixture
def damaged(tmp_path: Path) -> Package:
    """The speech model's package with one bit turned over in its weights."""
    source = load_catalog()["whisper-tiny.en"].source
    module = getattr(source, "module", "")
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    shutil.copytree(Path(spec.origin).parent, tmp_path / module)
    file = tmp_path / module / getattr(source, "folder", "") / "model.bin"
    with file.open("r+b") as weights:
        weights.seek(40_000_000)
        (byte,) = weights.read(1)
        weights.seek(40_000_000)
        weights.write(bytes([byte ^ 1]))
    return Package(tmp_path, file, "whisper-tiny.en")


def test_a_model_with_a_wrong_hash_is_never_used(damaged: Package) -> None:
    expected = next(file.sha256 for file in load_catalog()[damaged.model].files if file.path == "model.bin")
    env = {"PYTHONPATH": str(damaged.folder)}
    told = refusal(watchword("run", clip(), "--speed", "max", env=env), "MODEL_MISMATCH")
    assert f"model {damaged.model}: {damaged.file} has sha256 " in told
    assert f"expected {expected}" in told
    assert "Get it again with: pip install" in told
    done = watchword("models", "verify", env=env)
    assert done.returncode == FAILED
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("mismatch")] == [damaged.model]
    assert str(damaged.file) in done.stdout


def excerpt(path: Path, seconds: float, *kinds: Kind) -> Path:
    """The beginning of the sample clip, packets as they are."""
    import av

    with av.open(str(DEMO)) as demo, av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        tracks = {stream.index: container.add_stream_from_template(stream) for stream in demo.streams if stream.type in kinds}
        for packet in demo.demux():
            if packet.stream_index in tracks and packet.pts is not None and packet.pts * packet.time_base < seconds:
                packet.stream = tracks[packet.stream_index]
                container.mux(packet)
    return path


def understood(source: Path, events: Path) -> tuple[subprocess.CompletedProcess[str], list[Event]]:
    done = watchword("run", source, "--speed", "max", "--events", events)
    return done, read_events(events)


def words(events: list[Event]) -> str:
    return " ".join(event["text"] for event in of_type(events, "final"))


def test_of_a_truncated_file_what_is_there_is_told(tmp_path: Path) -> None:
    source = synthetic.truncated(excerpt(tmp_path / "whole.mp4", 6, "audio", "video"), 0.6)
    done, events = understood(source, tmp_path / "events.jsonl")
    told = refusal(done, "SOURCE_TRUNCATED")
    assert str(source) in told
    assert "although its header states 6.0 s" in told
    assert words(events).startswith("Welcome to the")
    assert of_type(events, "keyframe")
    (scene,) = of_type(events, "scene")
    assert 2 < scene["media_end"] < 5
    assert "Welcome to the" in done.stdout


@pytest.mark.parametrize(
    ("kind", "step", "lacks"),
    [("audio", "sample", "has no video: captions only"), ("video", "transcribe", "has no sound: there is nothing to caption")],
)
def test_a_source_without_one_track_is_understood_as_far_as_it_goes(kind: Kind, step: str, lacks: str, tmp_path: Path) -> None:
    done, events = understood(excerpt(tmp_path / "one-track.mp4", 3.2, kind), tmp_path / "events.jsonl")
    missed = f"stream one-track {lacks}"
    assert refusal(done, "TRACK_MISSING", status=INCOMPLETE) == f"watchword: {missed} [TRACK_MISSING]"
    if kind == "audio":
        assert words(events).startswith("Welcome to the")
        assert not of_type(events, "keyframe", "scene")
    else:
        assert of_type(events, "keyframe")
        assert len(of_type(events, "scene")) == 1
        assert not of_type(events, "partial", "final")
    (error,) = of_type(events, "error")
    assert (error["reason"], error["step"], error["stream"]) == ("TRACK_MISSING", step, "one-track")
    assert error["text"] == missed
    assert error["text"] in done.stdout, "a person who reads along is told too"


def test_what_a_source_lost_on_its_way_is_told(tmp_path: Path) -> None:
    """A segment that the server has lost, a packet of sound and one of the pictures that are damaged: understood as far as it goes."""

    def damaged(number: int, data: bytes) -> bytes:
        return data[:5] + b"\xff" * (len(data) - 5) if number == 20 else data

    source = synthetic.playlist(excerpt(tmp_path / "whole.mp4", 9, "audio", "video"), tmp_path, change=damaged)
    (tmp_path / "1.ts").unlink()
    done, events = understood(source, tmp_path / "events.jsonl")
    assert done.returncode == INCOMPLETE
    told = {error["step"]: error for error in of_type(events, "error")}
    assert {step: error["reason"] for step, error in told.items()} == {
        "publish": "MEDIA_MISSING",
        "transcribe": "MEDIA_UNDECODABLE",
        "sample": "MEDIA_UNDECODABLE",
    }
    assert "list.m3u8 holds nothing from" in told["publish"]["text"]
    assert "1 packet of its sound up to 0:00 could not be decoded" in told["transcribe"]["text"]
    assert "1 packet of its pictures up to 0:01 could not be decoded" in told["sample"]["text"]
    assert sorted(done.stderr.splitlines()) == sorted(f"watchword: {error['text']} [{error['reason']}]" for error in told.values())
    assert words(events).startswith("Welcome to")


def test_a_command_that_is_not_known_is_told_without_a_traceback() -> None:
    done = watchword("wach", "x")
    assert done.returncode == WRONG_USE
    assert "No such command 'wach'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--events", "--out"])
def test_a_place_that_cannot_be_written_is_refused_before_models_are_loaded(option: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "below"
    done = watchword("run", clip(), option, place)
    told = refusal(done, "SETTING_INVALID", status=WRONG_USE)
    assert str(place) in told
    assert done.stdout == ""


def test_a_stream_id_that_is_none_is_refused_before_models_are_loaded() -> None:
    done = watchword("run", clip(), "--stream", "a b", "--speed", "max")
    assert "'a b' is not a stream id" in refusal(done, "REQUEST_INVALID")
    assert done.stdout == ""


def test_a_kind_of_url_that_is_not_known_is_refused_before_models_are_loaded() -> None:
    done = watchword("run", "gopher://example.org/1", "--speed", "max")
    assert "gopher is not a kind of source" in refusal(done, "SOURCE_INVALID")
    assert done.stdout == ""


@pytest.mark.parametrize("source", ["http://ann:open-sesame@[nowhere", "rtsp://ann:open-sesame@127.0.0.1:1"])
def test_a_password_in_an_address_is_told_nowhere(source: str) -> None:
    done = watchword("run", source)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "sesame" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("source", "stream_id"),
    [
        ("samples/demo.mp4", "demo"),
        ("/dev/video0", "video0"),
        ("rtsp://ann:open-sesame@camera.local/live?channel=1", "live"),
        ("rtsp://ann:open-sesame@10.0.0.7:554", "10.0.0.7"),
        ("https://ann:open-sesame@[::1]/", "1"),
        ("rtsp://ann:open-sesame@[nowhere", "stream"),
    ],
)
def test_a_stream_is_called_by_what_may_be_told_of_its_source(source: str, stream_id: str) -> None:
    assert id_of(source) == stream_id


def test_a_refused_run_leaves_its_events_file_closed(tmp_path: Path) -> None:
    refusal(watchword("run", tmp_path / "nosuch.mp4", "--events", tmp_path / "events.jsonl"), "SOURCE_UNAVAILABLE")


def test_a_disk_that_is_full_is_told() -> None:
    said = refusal(watchword("run", DEMO, "--speed", "max", "--events", FULL_DISK), "SETTING_INVALID", status=WRONG_USE)
    assert "/dev/full cannot be written: No space left on device" in said
