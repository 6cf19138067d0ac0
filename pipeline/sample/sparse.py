"""Chunks into the pictures that are needed to see what happens, and no others.

What is not decoded is kept, as packets, from the last picture that was looked at. So the decision to leave something out
can be taken back: when a packet stands out, or a picture differs from the one before it, the packets since then are decoded
after all, from where the decoder stands or from the keyframe before, and no picture is ever built on what was left out. A
change is then told at its own time, although later than it was sent.

Of what is decoded a picture in each tenth of a second is looked at, and those between only where two are so unlike that a cut
may lie between them.

While the picture is still, the latest keyframe packet is decoded when a keyframe is due, by a second decoder, which leaves
the first as it is. Where no keyframe packet has come, the packets since the last picture are decoded up to the present.

A scene that begins with little sent and nothing moving waits in the same way, for its next keyframe packet.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog
from watchword.v1.media_pb2 import MediaChunk

from pipeline.media.decoders import CodedPacket, DecoderFactory, Skip, Small
from pipeline.media.video import DecodedFrame, VideoDecoder
from pipeline.sample.kept import Kept
from pipeline.sample.liveliness import PATIENCE, SOON, Liveliness, State, said_something
from pipeline.sample.looks import PERIOD
from pipeline.sample.needs import Counts, Need, Outcome
from pipeline.sample.quiet import turn
from pipeline.sample.scout import Picture, Scout
from pipeline.timeline import MediaTime

_log = structlog.get_logger(__name__)

PROBE_EVERY = MediaTime.of(10)
"""A still picture is looked at so often, or as often as a keyframe is due if that is more."""
LEAD = MediaTime.of(1)
"""So long before a packet that stands out every picture is wanted; before that, those that others refer to will do."""
MOST_PASSED = 3
"""Decoded pictures that are kept without being looked at."""
MOST_HIDDEN, FURTHEST = 1, MediaTime.of(0.125)
"""Pictures in a row that are left out where something moves, and how far apart those on either side are, at most."""
MOST_REPEATED = MediaTime.of(12)
"""Packets that only repeat a picture are left undecoded for so long, unless a keyframe comes: who needs them then must not wait."""
_WORTH_A_LOOK = 40
"""Packets that cost more than to decode one keyframe twice."""
_HELD_BACK = 4
"""Packets after which a codec has given a picture that it held back."""
_AT_ONCE = 2
"""Pictures after another one that are shown at once, because a cut is decided by them."""
_PIXELS = 1280 * 720
"""What a picture is taken to have where nobody says."""


_Found = tuple[int, Picture | None]
"""A keyframe packet that shows something else: the time of its picture, and that itself where it can be had."""


class SparseDecoder:
    """Decodes one stream's video as far as needed, in the calling thread."""

    def __init__(
        self,
        stream_id: str,
        open_decoder: DecoderFactory,
        *,
        longest_gap: MediaTime,
        small: Callable[[DecodedFrame], Small],
        show: Callable[[Picture], Outcome],
        may_hide: Callable[[Small], bool] = lambda _: True,
        is_start: Callable[[MediaTime], bool] = lambda _: False,
    ) -> None:
        """`small` makes a frame's thumbnails, `show` is given the pictures in order.

        `may_hide` tells of a picture, by its thumbnails, whether those between the latest that was shown and it must be shown as
        well, `is_start` of a time whether the picture at that time must be.
        """
        self.counts = Counts()
        self.video = VideoDecoder(stream_id, open_decoder)
        self._stream_id = stream_id
        self._longest_gap = longest_gap
        self._small = small
        self._show = show
        self._may_hide = may_hide
        self._is_start = is_start
        self._scout = Scout(stream_id, open_decoder, small)
        self._pixels = _PIXELS
        self._thinned = False
        self._begin()

    def _begin(self) -> None:
        """Know nothing of what came before."""
        self._rule = Liveliness(self._pixels)
        self._kept = Kept(self._pixels)
        self._shown = MediaTime(-1)
        self._chosen: MediaTime | None = None
        self._latest = -1
        """The latest time of a packet, in nanoseconds."""
        self._look_at = 0
        """When a still picture is to be looked at, whatever its packets say, in nanoseconds."""
        self._passed: list[DecodedFrame] = []
        self._thin: list[int] = []
        """Times of packets that were given to the decoder for their sake only whom others refer to, and of no picture yet, in order."""
        self._before = -1
        """The time of the latest picture that was decoded."""
        self._picture: Picture | None = None
        self._entered: Picture | None = None
        """Another picture, of a keyframe packet, of which is not known yet whether it stays."""

    @property
    def state(self) -> State:
        """How much is decoded at present."""
        return self._rule.state

    @property
    def reached(self) -> MediaTime | None:
        """The time of the latest picture that was shown, or is known to look like it; `None` before the first."""
        latest = max(self._shown.nanos, self._latest) if self._kept.packets else self._shown.nanos
        return MediaTime(latest) if latest >= 0 else None

    def take(self, chunk: MediaChunk) -> None:
        """Show the pictures that are needed of a chunk, and those of earlier ones that are needed after all.

        Raises what `VideoDecoder.decode` raises; a chunk whose decoding was put off can fail with a later one.
        """
        if not self.begin(chunk):
            self.go_on()

    def begin(self, chunk: MediaChunk) -> bool:
        """Take of a chunk what can be taken without decoding; whether that is all. If not, `go_on` takes the rest, and must.

        Takes a few microseconds a packet, so there is no need of a thread. Raises `MessageInvalid` or `TimeReversed`.
        """
        packets = self.video.require(chunk, self._latest)
        self.counts.packets += len(packets)
        self._chunk, self._packets, self._need = chunk, packets, Need.ALL
        waits = self._rule.state is State.STILL or self._rule.presumes
        if not waits or chunk.thinned or not self.video.is_settled or not self._follows(chunk):
            return False
        self.video.follow(chunk)
        for number, packet in enumerate(packets):
            self._need = self._note(packet)
            if self._need is not Need.NOTHING:
                del packets[:number]
                return False
        return True

    def go_on(self) -> None:
        """Take what is left of the chunk that was begun; raises what `VideoDecoder.decode` raises."""
        chunk, packets, need = self._chunk, self._packets, self._need
        if need is Need.ALL:
            if not self._follows(chunk):
                self._settle()
                self._start(chunk)
            self._each(self.video.follow(chunk))
        if _apart(packets) > FURTHEST.nanos / 2:
            self._rule.be_strict()
        if chunk.thinned:
            self.counts.decoded += len(packets)
            self._each(self.video.feed(packets, alone=True))
        else:
            for packet in packets:
                self._meet(packet, self._note(packet) if need in (Need.ALL, Need.NOTHING) else need)
                need = Need.NOTHING
        self.video.raise_if_lost(chunk, [])

    def _follows(self, chunk: MediaChunk) -> bool:
        return self.video.follows(chunk) and chunk.thinned == self._thinned

    def finish(self) -> None:
        """Nothing follows: show what was held back, without what was left out."""
        self._settle()
        self._each(self.video.flush())
        self._look()
        counts = self.counts
        _log.info(
            "video sampled",
            stream=self._stream_id,
            decoder=self.video.name,
            packets=counts.packets,
            decoded=counts.decoded,
            probes=counts.probes,
            wakes=counts.wakes,
        )

    def restart(self) -> None:
        """What comes next has nothing to do with what came before."""
        self._begin()

    def interrupt(self) -> None:
        """Break off what is being decoded, where that is possible; from any thread."""
        self.video.interrupt()
        self._scout.interrupt()

    def close(self) -> None:
        """Release the decoders."""
        self.video.close()
        self._scout.close()

    def _start(self, chunk: MediaChunk) -> None:
        """A stretch begins with the chunk."""
        if chunk.thinned != self._thinned:
            self._thinned = chunk.thinned
            _log.warning("too slow for the source: keyframes only" if chunk.thinned else "in time again", stream=self._stream_id)
        self._scout.forget()
        self._parameters = chunk.video
        self._pixels = chunk.video.width * chunk.video.height or _PIXELS
        shown, chosen = self._shown, self._chosen
        self._begin()
        self._shown, self._chosen = shown, chosen
        self._plan()

    def _note(self, packet: CodedPacket) -> Need:
        """Note a packet, in the order of decoding, and keep it while the picture is still; what has to be decoded because of it."""
        self._latest = max(self._latest, packet.pts)
        presumed = self._rule.presumes
        if self._rule.packet(packet.pts, len(packet.data), keyframe=packet.keyframe):
            return Need.WAKE
        if presumed and self._rule.presumes:
            self._kept.add([packet])
            late = self._latest >= self._look_at or self._rule.is_late(self._latest) or self._kept.is_full
            return Need.PICTURE if packet.keyframe or late else Need.NOTHING
        if self._rule.state is not State.STILL:
            return Need.PACKET
        self._kept.add([packet])
        if self._entered is not None:
            return Need.NOTHING if self._kept.stays(self._entered.frame.time.nanos, self._latest) is None else Need.PICTURE
        if self._latest >= self._look_at or self._kept.is_full or (packet.keyframe and self._rule.is_odd):
            return Need.PICTURE
        return Need.NOTHING

    def _meet(self, packet: CodedPacket, need: Need) -> None:
        """Decode what a packet that was noted needs."""
        if need is Need.WAKE:
            self.counts.wakes += 1
            self._come_near(packet.pts - LEAD.nanos)
            self._catch_up(every_from=packet.pts - LEAD.nanos)
            self._rule.wake()
            self._decode([packet])
        elif need is Need.PACKET:
            self._catch_up(every_from=0)
            self._decode([packet])
        elif need is Need.PICTURE and self._rule.presumes:
            self._try(packet)
        elif need is Need.PICTURE and self._entered is not None:
            self._enter(self._entered)
        elif need is Need.PICTURE:
            found = self._probe(due=self._chosen is not None and self._latest - self._chosen.nanos >= self._longest_gap.nanos)
            if self._rule.state is not State.STILL:
                self._change(found)

    def _try(self, packet: CodedPacket) -> None:
        """Find out whether the scene is still as presumed: by its next keyframe packet, and if none comes by its pictures."""
        picture = self._scouted(packet) if packet.keyframe and packet.pts > self._shown.nanos else None
        if picture is None or self._rule.probe(picture.small.luma):
            self._rule.presume_nothing(late=picture is None)
            self._catch_up(every_from=0, past=-1)
            return
        self._rule.rest(picture.small.luma)
        self._pass_to(len(self._kept.packets) - 1, picture)

    def _change(self, found: _Found | None) -> None:
        """See what was kept because something has happened in it, at the latest with the picture that was found to be another."""
        if found is None:
            self._catch_up(every_from=0)
            return
        time, picture = found
        number = self._kept.at(time)
        if picture is None or not self._kept.is_quiet(number, self._shown.nanos):
            self._catch_up(every_from=time - LEAD.nanos, past=time)
            return
        self._leave()
        self._hold(self._kept.latest_before(time))
        self._kept.add(self._kept.take()[number:])
        self._rule.rest(picture.small.luma)
        self._entered = picture
        if self._kept.stays(time, self._latest) is not None:
            self._enter(picture)

    def _enter(self, picture: Picture) -> None:
        """Show another picture, which stays without being decoded further if nothing else is sent; if it does not, see all of it."""
        self._entered = None
        time = picture.frame.time
        if not self._kept.stays(time.nanos, self._latest):
            self._catch_up(every_from=0, past=time.nanos)
            return
        self.video.reach(time)
        self._give(picture)
        times = sorted(packet.pts for packet in self._kept.packets if time.nanos < packet.pts < time.nanos + SOON.nanos)
        for number, at in enumerate(times):
            if number < _AT_ONCE or at // PERIOD.nanos != self._shown.nanos // PERIOD.nanos:
                self._hold(at)
        self._rule.rest(picture.small.luma)

    def _hold(self, time: int) -> None:
        """Show the latest picture once more, at a later time."""
        if self._picture is not None and time > self._shown.nanos:
            self.video.reach(MediaTime(time))
            self._give(replace(self._picture.at(time), due=False, passed=0, held=True))

    def _probe(self, *, due: bool) -> _Found | None:
        """Look at a picture: the latest that can be had by itself, else the present one. The first that is known to be another.

        Keyframe packets before it that were of another size, or came at another time, than usual have been looked at when
        they came. So nothing has happened before it, or all that was kept will be seen.
        """
        latest = self._latest_keyframe()
        if latest is None:
            if not self._repeated(due=due):
                self._catch_up(every_from=self._latest if not due else self._look_at)
            return None
        picture = self._scouted(self._kept.packets[latest])
        if picture is None or self._rule.probe(picture.small.luma):
            self.counts.wakes += 1
            time = self._kept.packets[latest].pts
            found = self._come_near(time - 1) or (time, picture)
            self._rule.wake()
            return found
        self._pass_to(latest, replace(picture, due=due))
        return None

    def _pass_to(self, number: int, picture: Picture) -> None:
        """Show the picture of a keyframe packet that was kept, and nothing of what was kept before it, if all is still until then."""
        state = self._rule.state
        self._leave()
        if self._rule.state is state:
            self.video.reach(picture.frame.time)
            self._give(picture)
            self._kept.add(self._kept.take()[number:])

    def _leave(self) -> None:
        """Packets are left out: see what the decoder still holds."""
        self._each(self.video.leap())
        self._thin.clear()
        self._look()

    def _come_near(self, time: int) -> _Found | None:
        """Pass over what was kept before something happened, as far as keyframe packets up to `time` show that nothing had until then.

        The first of them that is known to show something else, if one does.
        """
        first, alike, kept = 0, None, self._kept.packets
        other: _Found | None = None
        then = next((len(kept[n].data) for n in self._kept.keyframes(time)), 0)
        known = [n for n in self._kept.keyframes(self._shown.nanos) if kept[n].pts <= time]
        while known and known[-1] - first >= _WORTH_A_LOOK:
            sizes = [len(kept[n].data) for n in known]
            middle = turn(sizes, then)
            number = known[middle]
            picture = self._scouted(kept[number])
            if picture is None or self._rule.probe(picture.small.luma):
                other, then, known = (kept[number].pts, picture), sizes[middle], known[:middle]
            else:
                first, alike, known = number, picture, known[middle + 1 :]
        if alike is not None:
            self._pass_to(first, alike)
        return other

    def _repeated(self, *, due: bool) -> bool:
        """Show the last picture once more, at the present time, if since then nothing was sent but that it stays; whether that is so.

        Packets that say something are decoded before.
        """
        kept = self._kept.packets
        if self._parameters.codec != "h264" or not kept or self._latest - kept[0].pts > MOST_REPEATED.nanos:
            return False
        said = said_something([packet.data for packet in kept], self._pixels) + _HELD_BACK
        if len(kept) - said < _HELD_BACK:
            return False
        self._kept.take()
        for packet in kept[:said]:
            self._decode([packet])
        self._look()
        self._kept.add(kept[said:])
        if self._rule.state is State.STILL and self._picture is not None and self._latest > self._shown.nanos:
            self.video.reach(MediaTime(self._latest))
            self._give(replace(self._picture.at(self._latest), due=due, passed=0))
        return True

    def _latest_keyframe(self) -> int | None:
        """Which of the packets that are kept is the latest keyframe that was not shown."""
        return next(reversed(self._kept.keyframes(self._shown.nanos)), None)

    def _scouted(self, packet: CodedPacket) -> Picture | None:
        """The keyframe's picture; `None` where it cannot be had by itself."""
        before = self._scout.probes
        picture = self._scout.look(packet, self._parameters, self._picture)
        self.counts.probes += self._scout.probes - before
        return picture

    def _catch_up(self, *, every_from: int, past: int | None = None) -> None:
        """See all that was kept, or until all is still again after the time `past`; before `every_from` only what others refer to."""
        kept, self._entered = self._kept.take(), None
        for number, packet in enumerate(kept):
            if packet.pts == past:
                self._rule.wake()
            elif past is not None and packet.pts > past and self._rule.state is State.STILL:
                self._kept.add(kept[number:])
                return
            self._decode([packet], Skip.UNREFERENCED if packet.pts < every_from else Skip.NOTHING)

    def _decode(self, packets: list[CodedPacket], skip: Skip | None = None) -> None:
        if skip is None:
            skip = Skip.UNREFERENCED if self._rule.state is State.CALM else Skip.NOTHING
        if not self.video.knows_times:
            skip = Skip.NOTHING
        self.counts.decoded += len(packets)
        if skip is Skip.UNREFERENCED:
            for packet in packets:
                insort(self._thin, packet.pts)
        self._each(self.video.feed(packets, skip))

    def _each(self, frames: Iterable[DecodedFrame]) -> None:
        for frame in frames:
            if frame.time > self._shown:
                if self._thin:
                    self._note_hidden(frame.time.nanos)
                self._before = frame.time.nanos
                self._passed.append(frame)
                if len(self._passed) > MOST_PASSED or self._is_needed(frame.time):
                    self._look()

    def _note_hidden(self, time: int) -> None:
        """Count the pictures before this one that were left out; where a cut could lie too far from what is seen, leave out less."""
        count = bisect_left(self._thin, time)
        own = count < len(self._thin) and self._thin[count] == time
        del self._thin[: count + own]
        if self._rule.state is State.CALM and (count > MOST_HIDDEN or (count and time - self._before > FURTHEST.nanos)):
            self._rule.be_strict()

    def _is_needed(self, time: MediaTime) -> bool:
        """Whether the picture at this time, decoded just now, is to be looked at whatever it shows."""
        if time.nanos // PERIOD.nanos != self._shown.nanos // PERIOD.nanos or self._thinned or self._is_start(time):
            return True
        return self._chosen is not None and time.nanos - self._chosen.nanos >= self._longest_gap.nanos

    def _look(self) -> None:
        """Look at the latest of the pictures that were passed over, and at the others where they may show what it does not."""
        passed, self._passed = self._passed, []
        if not passed:
            return
        last, small = passed[-1], self._small(passed[-1])
        if len(passed) > 1 and self._may_hide(small):
            for frame in passed[:-1]:
                self._see(Picture(frame, self._small(frame)))
            passed = passed[-1:]
        self._see(Picture(last, small, passed=len(passed) - 1))

    def _see(self, picture: Picture) -> None:
        if not self._thinned:
            self._rule.picture(picture.frame.time, picture.small.luma)
        self._give(picture)

    def _give(self, picture: Picture) -> None:
        if picture.frame.time <= self._shown:
            return
        self._shown, self._picture = picture.frame.time, picture
        outcome = self._show(picture)
        if outcome.chosen is not None:
            self._chosen = outcome.chosen
        self._plan()
        if outcome.opened is not None:
            self._rule.forget(outcome.opened)
            if self._thinned or self._longest_gap <= PATIENCE:
                self._rule.presume_nothing(late=False)

    def _plan(self) -> None:
        """Find when the picture is to be looked at next, if it is still."""
        self._look_at = (self._shown + PROBE_EVERY).nanos
        if self._chosen is not None:
            self._look_at = min(self._look_at, (self._chosen + self._longest_gap).nanos)

    def _settle(self) -> None:
        """The stretch ends: show what is at hand of it, and what happened since the last picture, if anything did."""
        if self._rule.presumes:
            self._rule.presume_nothing(late=True)
            self._catch_up(every_from=0, past=-1)
        if self._latest_keyframe() is not None and not self._kept.are_alike(self._shown.nanos):
            self._probe(due=False)
            if self._rule.state is not State.STILL:
                self._catch_up(every_from=0)
        self._leave()


def _apart(packets: list[CodedPacket]) -> float:
    """How far apart the pictures of successive packets are on average, in nanoseconds; 0 for a single one."""
    times = [packet.pts for packet in packets]
    return (max(times) - min(times)) / (len(times) - 1) if len(times) > 1 else 0
