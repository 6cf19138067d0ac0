"""The process in which an isolated decoder works: `python -m pipeline.media.decoders.child FD`, started by `isolated`.

It answers one message after another over the socket that it inherits. Frames stay here until the other side drops them;
their thumbnails go along at once, because every frame's is asked for.
"""

import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from watchword.v1.media_pb2 import VideoParameters

from pipeline.errors import WatchwordError
from pipeline.media.decoders.port import CodedPacket, Decoder, DecoderFailed, Frame, Skip, Surface

THUMBNAIL = (64, 36)
"""Width and height of what goes along with each frame."""


class Server:
    """Holds one decoder and the frames that it gave."""

    def __init__(self) -> None:
        self._decoder: Decoder | None = None
        self._surfaces: dict[int, Surface] = {}
        self._next = 0

    def answer(self, what: str, *arguments: Any) -> Any:
        """Do what is asked; raises what the decoder raises."""
        match what:
            case "open":
                from pipeline.media.decoders.choose import openers

                name, stream_id, parameters = arguments
                self._decoder = openers()[name](stream_id, VideoParameters.FromString(parameters))
                return self._decoder.name
            case "decode":
                pts, dts, keyframe, data, skip, dropped = arguments
                for number in dropped:
                    self._surfaces.pop(number, None)
                assert self._decoder is not None
                return [self._told(frame) for frame in self._decoder.decode(CodedPacket(pts, dts, keyframe, data), Skip(skip))]
            case "drain":
                assert self._decoder is not None
                return [self._told(frame) for frame in self._decoder.drain()]
            case _:
                number, width, height = arguments
                surface = self._surfaces[number]
                return (surface.small if what == "small" else surface.rgb)(width, height)

    def _told(self, frame: Frame) -> tuple[Any, ...]:
        """A frame without its pixels, and its thumbnail."""
        number, self._next = self._next, self._next + 1
        self._surfaces[number] = surface = frame.surface
        size = (surface.width, surface.height)
        about = (frame.pts, frame.dts, frame.keyframe, frame.corrupt, frame.pixel_aspect, frame.rotation)
        return number, size, about, surface.small(*THUMBNAIL)


def main() -> None:
    """Answer until the other side is gone."""
    # Who stops the service stops its decoders by letting go of them, when all that was sent has been shown.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    server = Server()
    while True:
        try:
            what, *arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = ("done", server.answer(what, *arguments))
        except DecoderFailed as error:
            answer = ("failed", str(error))
        except WatchwordError as error:
            answer = ("refused", error)
        connection.send(answer)


if __name__ == "__main__":
    main()
