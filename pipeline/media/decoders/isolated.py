"""A decoder in a process of its own: one that crashes or hangs on hostile bytes takes nothing else with it.

A thread that hangs inside libav cannot be stopped, and a crash there ends the whole process with all its streams. A child
process can be ended. Only packets, thumbnails and the few pictures that become keyframes cross the border.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from watchword.v1.media_pb2 import VideoParameters

from pipeline.errors import WatchwordError
from pipeline.media.decoders.child import THUMBNAIL
from pipeline.media.decoders.port import CodedPacket, DecoderFactory, DecoderFailed, DecoderLost, Frame, Pixels, Skip, Small

LIMIT_S = 1.5
"""How long a packet may take: a 4K frame takes 0.05 s. Another process starts in 0.3 to 0.5 s where a core is free."""
START_LIMIT_S = 10.0
"""How long a process may take to start and open its decoder."""
_STARVED = 10
"""How many times longer an answer may take where the machine is so busy that the process hardly runs."""
_COMMAND = (sys.executable, "-m", "pipeline.media.decoders.child")


class IsolatedDecoder:
    """One decoder in one process."""

    def __init__(
        self,
        name: str,
        stream_id: str,
        parameters: VideoParameters,
        *,
        limit_s: float = LIMIT_S,
        start_limit_s: float = START_LIMIT_S,
        command: Sequence[str] = _COMMAND,
    ) -> None:
        """`name` is one of `choose.WANTED`, not "auto". Raises what opening it raises, or `DecoderLost`."""
        ours, theirs = socket.socketpair()
        with theirs:
            # The process reads hostile bytes: it gets no key or password that settings may hold.
            environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCHWORD_")}
            environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment
            )
        self._connection = Connection(ours.detach())
        self._limit_s = limit_s
        self._dropped: list[int] = []
        self._lost = ""
        try:
            self.name = (
                f"{self._ask('open', name, stream_id, parameters.SerializeToString(), limit_s=start_limit_s)} in a process of its own"
            )
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process in which it works."""
        return self._process.pid

    def decode(self, packet: CodedPacket, skip: Skip = Skip.NOTHING) -> list[Frame]:
        """See `Decoder.decode`."""
        dropped, self._dropped = self._dropped, []
        return self._frames(self._ask("decode", packet.pts, packet.dts, packet.keyframe, packet.data, int(skip), dropped))

    def drain(self) -> list[Frame]:
        """See `Decoder.drain`."""
        return self._frames(self._ask("drain"))

    def interrupt(self) -> None:
        """See `Interruptible.interrupt`."""
        self._process.kill()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._lost = self._lost or "it was closed"

    def look(self, what: str, number: int, width: int, height: int) -> Any:
        """What `Surface.small` or `Surface.rgb` says of a frame that the process holds; `None` where it is gone."""
        if self._lost:
            return None
        try:
            return self._ask(what, number, width, height)
        except DecoderFailed:
            return None

    def drop(self, number: int) -> None:
        """Nobody asks for this frame's pixels any more."""
        self._dropped.append(number)

    def _ask(self, *question: Any, limit_s: float | None = None) -> Any:
        if self._lost:
            raise DecoderLost(self._lost)
        try:
            self._connection.send(question)
            self._await_answer(limit_s or self._limit_s)
            kind, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            code = self._wait()
            raise self._gone(f"its process ended{'' if code is None else f' with code {code}'}") from error
        if kind == "failed":
            raise DecoderFailed(answer)
        if kind == "refused":
            assert isinstance(answer, WatchwordError)
            raise answer
        return answer

    def _await_answer(self, limit_s: float) -> None:
        """Wait for as long as an answer may take; longer while the process wants a core and gets none, for that is no hang."""
        if self._connection.poll(limit_s / 2):
            return
        before = processor_time(self.pid)
        for _ in range(2 * _STARVED):
            if self._connection.poll(limit_s / 2):
                return
            now = processor_time(self.pid)
            if before is None or now is None or now - before >= limit_s / 2:
                break
        raise self._gone(f"it has not answered for {limit_s:g} s")

    def _wait(self) -> int | None:
        try:
            return self._process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            return None

    def _gone(self, cause: str) -> DecoderLost:
        self._lost = cause
        self._process.kill()
        return DecoderLost(cause)

    def _frames(self, told: list[Any]) -> list[Frame]:
        frames = []
        for number, size, (pts, dts, keyframe, corrupt, aspect, rotation), thumbnail in told:
            surface = RemoteSurface(self, number, size, thumbnail)
            frames.append(Frame(pts, dts, keyframe, corrupt, surface, aspect, rotation))
        return frames


class RemoteSurface:
    """A frame in another process. Its thumbnail is here; of the rest, nothing else is left when that process is gone."""

    def __init__(self, decoder: IsolatedDecoder, number: int, size: tuple[int, int], thumbnail: Small) -> None:
        self._decoder = decoder
        self._number = number
        self.width, self.height = size
        self._thumbnail = thumbnail

    def small(self, width: int, height: int) -> Small:
        """See `Surface.small`."""
        if (width, height) == THUMBNAIL:
            return self._thumbnail
        found: Small | None = self._decoder.look("small", self._number, width, height)
        if found is not None:
            return found
        chroma = np.full((2, height // 2, width // 2), 128, np.uint8)
        return Small(self._blurred(width, height), chroma)

    def rgb(self, width: int, height: int) -> Pixels:
        """See `Surface.rgb`. Where the process is gone: the thumbnail, blurred and grey, which shows that much at its right time."""
        found: Pixels | None = self._decoder.look("rgb", self._number, width, height)
        return np.repeat(self._blurred(width, height)[..., None], 3, axis=2) if found is None else found

    def __del__(self) -> None:
        self._decoder.drop(self._number)

    def _blurred(self, width: int, height: int) -> Pixels:
        from PIL import Image

        return np.array(Image.fromarray(self._thumbnail.luma).resize((width, height), Image.Resampling.BILINEAR))


def processor_time(pid: int) -> float | None:
    """Seconds of processor time that a process has used; `None` where it does not want to run, or where that cannot be known."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(numbers[10]) + int(numbers[11])) / os.sysconf("SC_CLK_TCK") if state == "R" else None


def isolating(name: str, *, open_isolated: Callable[..., IsolatedDecoder] = IsolatedDecoder) -> DecoderFactory:
    """Opens decoders of this name, each in a process of its own."""
    return lambda stream_id, parameters: open_isolated(name, stream_id, parameters)
