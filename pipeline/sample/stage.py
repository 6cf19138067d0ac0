"""SAMPLE as a stage: video chunks in; keyframes as they are found and scenes as they close out.

What must be read again after a crash is counted in items, from the chunk at which decoding must start so that the present
scene is found again (see `pipeline.sample.select` for why it is). A stage that starts there may at first say things of its
own about frames before that scene. They are harmless only while readers have seen something from a later item, and so
fewer items are held only once something was said after the item in which the scene began.
"""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from google.protobuf.message import Message
from watchword.v1 import events_pb2, media_pb2, scene_pb2

from pipeline.media import chunks
from pipeline.media.decode import DecodedFrame
from pipeline.media.decoders import Decoder, DecoderFactory, DecoderLost, Surface
from pipeline.media.decoders.cpu import open_cpu
from pipeline.media.losses import Losses
from pipeline.sample.liveliness import REACH
from pipeline.sample.needs import Counts, Outcome
from pipeline.sample.options import DEFAULTS, Options
from pipeline.sample.pictures import Picture as Jpeg
from pipeline.sample.pictures import Shrinker
from pipeline.sample.scout import Picture
from pipeline.sample.select import MEMORY, Chosen, Closed, Selector
from pipeline.sample.sparse import SparseDecoder
from pipeline.timeline import ZERO, MediaTime, nanos_of


@dataclass(frozen=True)
class _NextHeld:
    """From which item on chunks will be held, once something has been said after the item in which the scene began."""

    item: int
    said_in: int


_LATEST = 16
"""Chunks among which that of the last picture is looked for; a codec holds pictures back for less than their 4 s."""

_Rest = Callable[[], list[events_pb2.KeyframeEvent]]
_Decisions = list[Chosen[DecodedFrame] | Closed]


class Sample:
    """Chooses the keyframes of one stream. Decodes what that needs in a worker thread, one chunk at a time."""

    def __init__(
        self,
        stream_id: str,
        *,
        options: Options = DEFAULTS,
        longest_side: int = 448,
        jpeg_quality: int = 85,
        open_decoder: DecoderFactory = open_cpu,
    ) -> None:
        """`longest_side` is that of a keyframe's JPEG at most, in pixels; `jpeg_quality` is in Pillow's scale, 1 to 95."""
        self._stream_id = stream_id
        self._options = options
        self._shrinker = Shrinker(longest_side=longest_side, jpeg_quality=jpeg_quality)

        def opened(stream_id: str, parameters: media_pb2.VideoParameters) -> Decoder:
            if self._closed:
                raise DecoderLost("the stream is not looked at any more")
            return open_decoder(stream_id, parameters)

        self._decoder = SparseDecoder(
            stream_id,
            opened,
            longest_gap=options.maximum_gap,
            small=lambda decoded: self._shrinker.small(decoded.surface),
            show=self._show,
            may_hide=lambda small: self._selector.may_hide(small.luma, small.chroma),
            is_start=lambda time: time in self._starts,
        )
        self._losses = Losses(stream_id, "video")
        self._pictured: tuple[weakref.ref[Surface], Jpeg] | None = None
        """The latest keyframe's picture, as long as somebody keeps it, and its JPEG."""
        self._lock = threading.Lock()
        self._closed = False
        self._items = 0
        self._begin()

    def _begin(self) -> None:
        """Forget everything, as at the start of the stream."""
        self._selector: Selector[DecodedFrame] = Selector(self._options)
        self._decisions: _Decisions = []
        self._start: MediaTime | None = None
        """The time of the first keyframe packet of the present chunk, where it begins something."""
        self._starts: dict[MediaTime, int] = {}
        """Where decoding can start: the time of the first keyframe packet of a chunk, and the number of the item."""
        self._held_from: int | None = None
        self._next_held: _NextHeld | None = None
        self._latest: deque[media_pb2.MediaChunk] = deque(maxlen=_LATEST)

    @property
    def held(self) -> int:
        """The chunks from which the present scene can be found again; grows while a source sends no keyframe packet."""
        return 0 if self._held_from is None else self._items - self._held_from

    @property
    def counts(self) -> Counts:
        """What was done with the packets so far."""
        return self._decoder.counts

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """Take a chunk or a gap; raises what `SparseDecoder.begin` and `go_on` raise for a chunk that must be refused.

        A chunk of which nothing has to be decoded is done with here and now; all else is for a thread.
        """
        assert isinstance(item, events_pb2.VideoEvent)
        rest = self._take_gap if item.WhichOneof("event") == "gap" else self._take_at_once(item.chunk)
        if rest is not None:
            lost = self._lost
            for event in await asyncio.to_thread(rest):
                yield event
            if item.HasField("chunk"):
                for loss in self._losses.note(self._lost - lost, chunks.media_end(item.chunk)):
                    yield loss

    async def flush(self) -> AsyncIterator[Message]:
        """The stream has ended: the last keyframes, and the end of the last scene."""
        for event in await asyncio.to_thread(self._finish):
            yield event
        for loss in self._losses.rest():
            yield loss

    @property
    def _lost(self) -> int:
        """Packets so far that could not be decoded, and times that some were missing."""
        return self._decoder.video.damaged + self._decoder.video.missing

    def close(self) -> None:
        """Release the decoder; waits for a chunk that is being decoded, or breaks that off where the decoder can be."""
        self._closed = True
        self._decoder.interrupt()
        with self._lock:
            self._decoder.close()

    def _take_at_once(self, chunk: media_pb2.MediaChunk) -> _Rest | None:
        """Take the chunk if nothing has to be decoded for it; else what is left to do."""
        if not self._lock.acquire(blocking=False):
            return partial(self._take_chunk, chunk)
        try:
            return None if self._begin_chunk(chunk) else self._end_chunk
        finally:
            self._lock.release()

    def _take_chunk(self, chunk: media_pb2.MediaChunk) -> list[events_pb2.KeyframeEvent]:
        with self._lock:
            done = self._begin_chunk(chunk)
        return [] if done else self._end_chunk()

    def _begin_chunk(self, chunk: media_pb2.MediaChunk) -> bool:
        """Take of the chunk what can be taken without decoding; whether that is all."""
        self._start = None
        done = self._decoder.begin(chunk)
        # From here on the chunk is known to be valid: of another one not even the times can be told.
        self._latest.append(chunk)
        self._start = self._note_start(chunk)
        self._items += done
        return done

    def _end_chunk(self) -> list[events_pb2.KeyframeEvent]:
        """Decode what the chunk that was begun asks for."""
        with self._lock:
            damaged = self._decoder.video.damaged
            try:
                self._decoder.go_on()
            except BaseException:
                self._forget_start(self._start)
                raise
            if self._decoder.video.damaged != damaged:
                self._forget_start(self._start)
            events = self._tell()
            self._items += 1
            return events

    def _take_gap(self) -> list[events_pb2.KeyframeEvent]:
        events = self._finish()
        self._decoder.restart()
        self._begin()
        self._items += 1
        return events

    def _finish(self) -> list[events_pb2.KeyframeEvent]:
        with self._lock:
            self._decoder.finish()
            reached = self._decoder.reached
            end = ZERO if reached is None else self._end_of(reached)
            self._decisions += self._selector.finish(end)
            return self._tell()

    def _note_start(self, chunk: media_pb2.MediaChunk) -> MediaTime | None:
        """Remember where a decoder that is given this chunk first would start, if it would."""
        time = next((chunks.packet_time(chunk, packet) for packet in chunk.packets if packet.keyframe), None)
        if time is None or time in self._starts:
            return None
        self._starts[time] = self._items
        if self._held_from is None:
            self._held_from = self._items
        return time

    def _forget_start(self, time: MediaTime | None) -> None:
        """The chunk that begins to be decoded at `time` is damaged or refused: nobody should start there."""
        if time is None:
            return
        self._starts.pop(time, None)
        if self._held_from == self._items:
            self._held_from = None

    def _end_of(self, time: MediaTime) -> MediaTime:
        """When the picture of one of the last packets ends, by what its packet or the frame rate says, or by the packets beside it."""
        for chunk in reversed(self._latest):
            rate = chunk.video.frame_rate
            for packet in chunks.coded(chunk):
                if packet.pts != time.nanos:
                    continue
                if packet.duration > 0:
                    return time + MediaTime(packet.duration)
                if rate.numerator > 0 and rate.denominator > 0:
                    return time + MediaTime(nanos_of(1, rate.denominator, rate.numerator))
        times = sorted({packet.pts for chunk in self._latest for packet in chunks.coded(chunk)})
        return time + MediaTime(min((later - sooner for sooner, later in pairwise(times)), default=0))

    def _show(self, picture: Picture) -> Outcome:
        """Let the selector see a picture."""
        decoded, small = picture.frame, picture.small
        restart = decoded.time in self._starts
        new = self._selector.push(
            decoded.time, small.luma, decoded, chroma=small.chroma, restart=restart, due=picture.due, passed=picture.passed
        )
        self._decisions += new
        chosen = [decision for decision in new if isinstance(decision, Chosen)]
        opening = [decision.time for decision in chosen if decision.time == decision.scene]
        return Outcome(chosen[-1].time if chosen else None, opening[-1] if opening else None)

    def _tell(self) -> list[events_pb2.KeyframeEvent]:
        """What has been decided since it was last told."""
        decisions, self._decisions = self._decisions, []
        events = []
        for decision in decisions:
            if self._next_held is not None and self._next_held.said_in < self._items:
                self._held_from, self._next_held = self._next_held.item, None
            if isinstance(decision, Closed):
                events.append(events_pb2.KeyframeEvent(scene=self._boundary(decision)))
                continue
            events.append(events_pb2.KeyframeEvent(keyframe=self._keyframe(decision)))
            if decision.time == decision.scene:
                self._hold_from(decision)
        return events

    def _hold_from(self, opening: Chosen[DecodedFrame]) -> None:
        """Find the chunk from which the scene that opens now can be found again, if there is one that is later than before.

        A scene that got too long where decoding cannot start is found again only by who knows where it began.
        """
        if opening.reason == scene_pb2.KEYFRAME_REASON_INTERVAL and not opening.anew:
            return
        if opening.anew:
            self._starts = {time: item for time, item in self._starts.items() if time >= opening.time}
        latest = opening.time if opening.anew else opening.time - MEMORY - REACH
        usable = [time for time in self._starts if time <= latest]
        if not usable:
            return
        self._next_held = _NextHeld(self._starts[usable[-1]], self._items)
        for time in usable[:-1]:
            del self._starts[time]

    def _keyframe(self, chosen: Chosen[DecodedFrame]) -> scene_pb2.Keyframe:
        picture = self._jpeg(chosen.payload)
        return scene_pb2.Keyframe(
            stream_id=self._stream_id,
            id=f"keyframe-{chosen.time.millis}",
            media_time=chosen.time.to_proto(),
            reason=chosen.reason,
            score=chosen.score,
            motion=chosen.motion,
            jpeg=picture.jpeg,
            width=picture.width,
            height=picture.height,
            scene_id=_scene_id(chosen.scene),
        )

    def _jpeg(self, frame: DecodedFrame) -> Jpeg:
        """The frame's JPEG, made once where a picture that stays as it was is chosen again and again."""
        if self._pictured is None or self._pictured[0]() is not frame.surface:
            jpeg = self._shrinker.picture(frame.surface, frame.pixel_aspect, frame.rotation)
            self._pictured = (weakref.ref(frame.surface), jpeg)
        return self._pictured[1]

    def _boundary(self, closed: Closed) -> scene_pb2.SceneBoundary:
        return scene_pb2.SceneBoundary(
            stream_id=self._stream_id,
            scene_id=_scene_id(closed.start),
            media_start=closed.start.to_proto(),
            media_end=closed.end.to_proto(),
        )


def _scene_id(start: MediaTime) -> str:
    return f"scene-{start.millis}"
