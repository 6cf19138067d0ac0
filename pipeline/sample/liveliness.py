"""How much of a stream has to be decoded to see what happens in it. A pure rule: packets and pictures in, a state out.

Pictures tell what a state may be, packets tell at once when it must end:

- While pictures are decoded, they are looked at for a second: how far any of them is from the first. Where that is hardly
  anything the picture is *still*, where it is a little it is *calm*, else it is *lively*. Sizes of packets would not tell:
  a camera of constant bit rate spends as much on noise as another on a crowd, and a slow pan costs hardly more than a wall.
- While little is decoded, sizes do tell that something is new: what changes in the picture has to be sent. A packet of
  several times the usual size, or three of four of twice the size, ends a still or calm state there and then. What is usual is
  learnt from the packets of the last seconds, for pictures that others refer to and the rest apart.
- What grows so slowly that no packet stands out is seen in the next picture that is decoded anyway (`probe`).
- A scene that begins with little sent and nothing moving is *presumed* to be still: nothing is decoded until its next keyframe packet,
  which tells. Where none comes soon, a quarter of a second of pictures does.

What is remembered is forgotten with each scene (`forget`) and otherwise reaches back `REACH`, so that a stage that starts
anew after a crash comes to the same states.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from kernels.frame_difference import Thumbnails, block_difference, luma_difference
from pipeline.sample.looks import look, shape_distance
from pipeline.sample.resting import small_change
from pipeline.timeline import ZERO, MediaTime


class State(IntEnum):
    """What is decoded."""

    STILL = 0
    """A keyframe now and then."""
    CALM = 1
    """What others refer to, whatever happens, as long as no packet stands out."""
    LIVELY = 2
    """Everything: something has just begun, or pictures are too unlike their neighbours to leave any out."""


LOOK = MediaTime.of(1)
"""For so long pictures are looked at before the state may fall."""
USUAL = MediaTime.of(4)
"""How far back the packets reach that say what size is usual."""
REACH = LOOK + USUAL
"""How far back everything reaches that is remembered within a scene, once the state has fallen."""

_STILL_LUMA, _STILL_BLOCK = 0.02, 0.1
_CALM_LUMA, _CALM_BLOCK = 0.15, 0.4
"""How far pictures may be from the first of a look: mean luma, and the block that changed most, 0 to 1. Talking heads, noise
and repeated keyframes were measured at 0.010 and 0.065 and less, people who walk through a picture at 0.11, slow pans at
0.06 and 0.1, a dog that leaps at 0.27."""
_UNLIKE = 0.6
"""Distance of shapes of two looks from which something has happened, however dark they are; noise makes up to 0.4."""
ALERT = MediaTime.of(0.7)
"""After a packet that stands out, and at the start, everything is decoded for so long: a cut is told by then, and what is usual known."""
SOON, _VERY = MediaTime.of(0.5), 0.75
"""Pictures that stay within the one share of what is still for so long are still."""
_EVERY = MediaTime.of(0.15)
"""Within a look, pictures nearer to each other than this are not compared one by one."""
_HYSTERESIS = 0.8
"""A state that is to fall needs pictures that are nearer than this share of what would keep it."""
_SPIKE = 3.0
_NEW = 0.4
"""A packet of more than this share of the latest keyframe's bytes holds much of a new picture, where it is above twice the usual."""
_ALL_NEW = 0.75
"""The same for the first packet after a keyframe: of noise it was measured to have half of the keyframe's bytes."""
RISE, _RISING = 2.0, 4
"""How many times the usual a packet is that ends the state, and how many times three of four are."""
_RISE_OF_MOTION = 1.4
"""The same for one that holds much of a new picture, where something moves anyway and to look closer costs little."""
_ODD = 0.15
"""Keyframe packets of a still picture were measured to differ by a tenth in size at most."""
_LEAST_ODD, _TIMES_VARIED = 0.03, 4
"""Where the last two differed by less, as those of slides do, so much more is enough."""
_HIGH = 0.9
"""The usual size is one that this share of packets does not exceed."""
_LIKE_HARMLESS = 1.3
"""A packet that is not this many times one after which the picture was as before is as harmless as that."""
_ENOUGH = 6
"""With fewer packets to learn from nothing is usual, and any that is not tiny ends the state."""
_REPEATS, _PIXELS_A_REPEAT, _REPEATS_VARY = 32, 75_000, 1
"""Bytes of a packet that only repeats a picture, pixels for which it takes one more, and by how many bytes such packets differ."""
_PIXELS_A_BYTE = 4000
"""A packet of fewer bytes than one for so many pixels says nothing: an unchanged picture costs 30 to 200 bytes at 720p."""

_LITTLE, _MENDS = 0.03, 0.25
"""Of a keyframe's bytes: the most of a packet, and of the first one after a keyframe, of a scene that is presumed to be still."""
PATIENCE = MediaTime.of(2.5)
"""For so long after it began a scene is presumed to be still where no keyframe packet comes."""
BRIEF = MediaTime.of(0.25)
"""Pictures that stay within the share of `SOON` for so long are still, where the packets of all that time are little."""
_QUIET = 2.0
"""How many times the size that says nothing a packet of a picture may have of which hardly anything is sent."""


@dataclass
class _Sizes:
    """Sizes of packets of one kind, of the last `USUAL`."""

    seen: deque[tuple[int, int]] = field(default_factory=deque)
    """Time in nanoseconds and bytes, in the order of decoding."""
    ordered: list[int] = field(default_factory=list)
    """The same bytes, the fewest first."""
    latest: deque[int] = field(default_factory=lambda: deque(maxlen=_RISING))
    harmless: int = 0
    """The largest packet of the scene that stood out for nothing: AV1 sends one in each group of pictures."""

    def stands_out(self, size: int, least: float, new: float, *, still: bool) -> bool:
        """Whether the packet, or the last few with it, are far above what is usual; one of `new` bytes need not be so far."""
        nothing = max(RISE * least, _LIKE_HARMLESS * self.harmless)
        if size <= nothing and (not self.latest or max(self.latest) <= nothing):
            return False
        latest = sorted([*self.latest, size][-_RISING:])
        together = (latest[1] + latest[2]) / 2 if len(latest) == _RISING else 0
        if max(size, together) <= nothing:
            return False
        if len(self.seen) < _ENOUGH:
            return size > (_SPIKE * least if still else max(new, _SPIKE * least))
        usual = max(float(self.ordered[int(_HIGH * (len(self.ordered) - 1))]), least)
        return size > _SPIKE * usual or size > max(new, (RISE if still else _RISE_OF_MOTION) * usual) or together > RISE * usual

    def comes(self, time: MediaTime, least: float) -> bool:
        """Whether a packet whose picture comes after `time` is far above those up to then."""
        later = [size for at, size in self.seen if at > time.nanos]
        if not later:
            return False
        before = sorted(size for at, size in self.seen if at <= time.nanos)
        usual = max(before[int(_HIGH * (len(before) - 1))], least) if len(before) >= _ENOUGH else least
        return max(later) > _SPIKE * usual

    def is_quiet(self, most: float) -> bool:
        """Whether hardly any packet of late was of more bytes."""
        return len(self.seen) >= _ENOUGH and self.ordered[int(_HIGH * (len(self.ordered) - 1))] <= most

    def keep(self, since: MediaTime) -> None:
        """What is usual is what came since then, where that is enough to tell: before, something moved."""
        if sum(each[0] >= since.nanos for each in self.seen) >= _ENOUGH:
            self.drop_before(since)

    def drop_before(self, time: MediaTime) -> None:
        self.seen = deque(each for each in self.seen if each[0] >= time.nanos)
        self.ordered = sorted(size for _, size in self.seen)

    def add(self, time: int, size: int) -> None:
        self.seen.append((time, size))
        insort(self.ordered, size)
        self.latest.append(size)
        while self.seen[0][0] < time - USUAL.nanos:
            _, old = self.seen.popleft()
            del self.ordered[bisect_left(self.ordered, old)]


def least_bytes(pixels: int) -> float:
    """How many bytes a packet says nothing with at most."""
    return max(pixels / _PIXELS_A_BYTE, 64.0)


def said_something(packets: Sequence[bytes], pixels: int) -> int:
    """How many of these packets of H.264, in the order of decoding, come up to the last that does more than repeat a picture.

    A picture of which every macroblock is skipped is a copy: none can move, for where a neighbour is missing, as in the first row, or
    does not move, a skipped one does not either (ITU-T H.264, 8.4.1.1). It takes about 30 bytes and three for each
    thousand macroblocks, the same from picture to picture but for a few; anything else takes more.
    """
    least = min(map(len, packets))
    most = min(least + _REPEATS_VARY, _REPEATS + pixels // _PIXELS_A_REPEAT)
    return max((number for number, data in enumerate(packets, 1) if len(data) > most), default=0)


class Liveliness:
    """The rule for one uninterrupted stretch of one stream."""

    def __init__(self, pixels: int) -> None:
        """`pixels` is how many a picture has."""
        self.state = State.LIVELY
        self._least = least_bytes(pixels)
        self._leading, self._others = _Sizes(), _Sizes()
        self._highest: int | None = None
        self._first: tuple[MediaTime, Thumbnails] | None = None
        self._farthest = State.STILL
        self._very_still = True
        self._compared = ZERO
        self._seen: Thumbnails | None = None
        self._from = -(1 << 62)
        self._new = 0.0
        self._mends = False
        self._strict = False
        self._presumed = self._brief = False
        self._alarm: tuple[_Sizes, int, Thumbnails | None] | None = None
        """What ended the last still or calm state: which packets it was among, its size, and the picture before it."""
        self._keyframe: tuple[int, int] | None = None
        self._distance: int | None = None
        self._varied: int | None = None
        self.is_odd = False
        """Whether the latest keyframe packet differs from the one before in its size, or came sooner or later: encoders begin a new
        shot with one."""

    def packet(self, time: int, size: int, *, keyframe: bool) -> bool:
        """Note a packet, in the order of decoding, before it is decoded; whether it ends a still or calm state, which is then lively.

        `time` is that of its picture, in nanoseconds, `size` its bytes.
        """
        leads = self._highest is None or time > self._highest
        if leads:
            self._highest = time
        mends, self._mends = self._mends and leads, keyframe or (self._mends and not leads)
        if keyframe:
            self._new = _NEW * size
            self._note_keyframe(time, size)
        if keyframe or time < self._from:
            return False
        if mends:
            # The first picture after a keyframe corrects what that left coarse, also where nothing moves.
            self._presumed = self._presumed and size <= max(_MENDS / _NEW * self._new, _QUIET * self._least)
            if self.state is State.LIVELY or size <= max(_ALL_NEW / _NEW * self._new, RISE * self._least):
                return False
            self.wake()
            return True
        sizes = self._leading if leads else self._others
        still = self.state is State.STILL
        wakes = self.state is not State.LIVELY and sizes.stands_out(size, self._least, self._new, still=still)
        self._presumed = self._presumed and self._is_little(sizes, size)
        sizes.add(time, size)
        if wakes:
            self._alarm = (sizes, size, self._seen)
            self.wake()
        return wakes

    def _is_little(self, sizes: _Sizes, size: int) -> bool:
        """Whether a packet is as small as those of a picture that stays."""
        if size > max(_LITTLE / _NEW * self._new, _QUIET * self._least):
            return False
        return len(sizes.seen) < _ENOUGH or not sizes.stands_out(size, self._least, self._new, still=True)

    @property
    def presumes(self) -> bool:
        """Whether the scene that has begun may be still, by what was seen and sent of it: then its next keyframe packet can tell."""
        return self._presumed and self.state is State.LIVELY

    def _note_keyframe(self, time: int, size: int) -> None:
        before, usual, varied = self._keyframe, self._distance, self._varied
        self._keyframe = (time, size)
        self._distance = None if before is None else time - before[0]
        self._varied = None if before is None else abs(size - before[1])
        most = _ODD if varied is None or before is None else min(_ODD, max(_LEAST_ODD, _TIMES_VARIED * varied / before[1]))
        other_size = before is not None and abs(size - before[1]) > most * before[1]
        other_time = usual is not None and self._distance is not None and abs(self._distance - usual) > _ODD * usual
        self.is_odd = other_size or other_time

    def wake(self) -> None:
        """Something happens: everything is decoded, and looked at from the next picture on."""
        self.state, self._presumed, self._brief = State.LIVELY, False, False
        self._first, self._farthest, self._very_still = None, State.STILL, True

    def rest(self, luma: Thumbnails) -> None:
        """The picture is known to stay as it is, although nobody looked for long."""
        self.state, self._seen = State.STILL, luma
        self._first, self._alarm, self._presumed = None, None, False

    def is_late(self, time: int) -> bool:
        """Whether at this time, in nanoseconds, the scene has been presumed to be still for long enough."""
        return time - self._from > PATIENCE.nanos

    def presume_nothing(self, *, late: bool) -> None:
        """Pictures must tell; where it is `late`, and packets have said little for so long, some of them."""
        self._presumed, self._brief = False, late

    def be_strict(self) -> None:
        """Too much is left out where only what others refer to is decoded: from now on that is for what hardly moves."""
        if not self._strict:
            self._strict = True
            if self.state is State.CALM:
                self.wake()

    def picture(self, time: MediaTime, luma: Thumbnails) -> None:
        """Note a picture that was decoded, in the order of showing: `uint8`, shape (36, 64)."""
        self._seen = luma
        if self._first is None:
            self._begin_look(time, luma)
            return
        start, first = self._first
        ends = time - start >= self._enough
        if self._farthest is not State.LIVELY and (ends or time - self._compared >= _EVERY):
            self._compared = time
            distance = _distance(first, luma)
            self._presumed = self._presumed and _verdict(distance, _HYSTERESIS) is State.STILL
            self._farthest = max(self._farthest, self._asks(distance, _HYSTERESIS))
            self._very_still = self._very_still and _verdict(distance, _VERY) is State.STILL
            if self._asks(distance) > self.state:
                self.wake()
                self._first = (time, luma)
                return
        if self.state is State.LIVELY and not self._strict and time - start >= ALERT and not self._promises(time):
            self.state = State.CALM
        if time - start >= self._enough:
            self._settle(start, time)
            self._brief = False
            self._begin_look(time, luma)

    @property
    def _enough(self) -> MediaTime:
        """For how long pictures are looked at, as far as they are still."""
        return BRIEF if self._brief and self._very_still else SOON if self._very_still else LOOK

    def _begin_look(self, time: MediaTime, luma: Thumbnails) -> None:
        self._first, self._farthest, self._very_still, self._compared = (time, luma), State.STILL, True, time

    def _settle(self, start: MediaTime, time: MediaTime) -> None:
        """A look has ended: the state is what the pictures ask for, unless a packet that was decoded meanwhile promises more."""
        if self._farthest >= self.state:
            self.state = self._farthest
        elif self._brief or not self._promises(time):
            self._leading.keep(start)
            self._others.keep(start)
            self.state = self._farthest
            self._note_harmless()

    def _asks(self, distance: tuple[float, float], share: float = 1.0) -> State:
        """What a look at this distance asks for."""
        verdict = _verdict(distance, share)
        return verdict if self._strict else min(verdict, State.CALM)

    def _promises(self, time: MediaTime) -> bool:
        """Whether a packet was seen whose picture is still to come, and that holds more than is usual."""
        return self._leading.comes(time, self._least) or self._others.comes(time, self._least)

    def _note_harmless(self) -> None:
        """All is still again: whether it is as it was before the packet that stood out."""
        alarm, self._alarm = self._alarm, None
        if alarm is None or self._seen is None or self.state is not State.STILL:
            return
        sizes, size, before = alarm
        if before is not None and _verdict(_distance(before, self._seen)) is State.STILL and not self._has_small_change(before, self._seen):
            sizes.harmless = max(sizes.harmless, size)

    def probe(self, luma: Thumbnails) -> bool:
        """Note a picture that was decoded to see whether all is still as it was; whether what lies before it must be seen too."""
        before = self._seen
        share = _HYSTERESIS if self._presumed else 1.0
        if before is None or _verdict(_distance(before, luma), share) is not State.STILL:
            return True
        # Two dark pictures that have nothing in common differ by less than a bright one in which a leaf moves.
        if shape_distance(look(before), look(luma)) > _UNLIKE or self._has_small_change(before, luma):
            return True
        self._seen = luma
        return False

    def _has_small_change(self, before: Thumbnails, luma: Thumbnails) -> bool:
        """Whether something small, such as a line of writing, has come or gone in a picture of which hardly anything is sent.

        Where more is, noise and people who sit make differences as small.
        """
        return self._leading.is_quiet(_QUIET * self._least) and small_change(look(before), look(luma))

    def forget(self, time: MediaTime) -> None:
        """A scene begins with the picture at `time`: nothing before it matters any more."""
        self._from = time.nanos
        for sizes in (self._leading, self._others):
            sizes.drop_before(time)
            sizes.latest.clear()
            sizes.harmless = 0
        self._alarm, self._strict = None, False
        self.wake()
        self._presumed = True


def _distance(first: Thumbnails, luma: Thumbnails) -> tuple[float, float]:
    """How far two pictures are from each other: mean luma, and the block that changed most."""
    return float(luma_difference(first, luma)), float(block_difference(first, luma))


def _verdict(distance: tuple[float, float], share: float = 1.0) -> State:
    """What a look must be that has two pictures at this distance in it."""
    mean, block = distance
    if mean < share * _STILL_LUMA and block < share * _STILL_BLOCK:
        return State.STILL
    return State.CALM if mean < share * _CALM_LUMA and block < share * _CALM_BLOCK else State.LIVELY
