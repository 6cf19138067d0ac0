"""What is worth a keyframe within a scene: change, peaks of motion, writing that appears, and that none came for long.

Everything here begins anew with each scene and depends on its frames alone. Frames are looked at ten times a second, however
many there are.

- A frame is a **change** when it is new against the last keyframe, now and a tenth of a second before: so a flash is none, nor
  is light that flickers. Of a camera that is held, turns or zooms only what has come into view is new, and what changed beside
  its motion (`pipeline.sample.view`). It is told when the picture comes to rest, or after a moment: what turns out to be the way
  to the next scene, as the middle of a dissolve or the last frame before a cut, is not chosen. For a picture that is all new the
  budget lends one.
- At a **peak of motion** three or four frames around it are chosen, a tenth of a second apart, where the budget has room for
  them, so that whoever looks at them sees which way things move and how fast, else one. The peak is known when two later looks
  have less motion. Where all is at rest most of the time, or the peak stands far above what usually moves, less is enough, and
  the budget lends one, for what passes will not wait.
- One peak is held until it is known **what comes of it**. When the picture rests and most of what was new at the peak is still there,
  as where a hand has put a cup down, the picture at rest shows it better, and takes the peak's place. Otherwise something has passed,
  and only the peak shows it. So a short action takes one keyframe, of its result, and one that goes on for longer one of its midst, too.
- What is small but **stays**, in a picture that is usually at rest, is certain to be new (`pipeline.sample.resting`); it can wait for the
  budget, and a while after the last keyframe.
- Where all is again as in the keyframe before the last, soon after that one, nothing is new: what passed was chosen.
- **Writing** that has appeared and stays is told by its strokes (`pipeline.sample.writing`).
- A keyframe is never older than the **gap** allows.

What is less new needs a fuller budget (`pipeline.sample.budget`), so that the least novel frames are left out first. A scene's
first keyframe is never left out.
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic

import numpy as np
from watchword.v1 import scene_pb2

from pipeline.sample.budget import Budget
from pipeline.sample.cuts import SPARSE, Payload, Seen
from pipeline.sample.looks import PERIOD, Look, shape_distance
from pipeline.sample.motion import Motion, Peak
from pipeline.sample.novelty import novelty
from pipeline.sample.options import Options
from pipeline.sample.resting import Resting
from pipeline.sample.view import View
from pipeline.sample.writing import Strokes, appeared, cell_differences, strokes
from pipeline.timeline import MediaTime

_WRITING_PERIOD = MediaTime.of(0.2)
_WRITING_BEFORE = MediaTime.of(0.5)
_LEAST_CHANGE = 0.45
_EASIER = 0.12
"""Of `Options.change` so much less is enough for each second that is waited, down to the least part."""
_FULLER = 0.8
_SAME_SHAPE = 0.25
"""Distance of shapes below which two pictures differ in their light alone."""
_LIGHT_LOOKS = 4
_PEAK_NEEDS = 0.75
_LEAST_RESTLESS = 0.6
"""A peak of motion needs this part of a change's novelty, and of that as little as the other where all is at rest otherwise."""
_OUTSTANDING = 0.3
"""The same for one that stands out of what usually moves."""
_SETTLED_NEEDS = 0.5
"""What came of motion, once it has settled, needs this part of a change's novelty."""
_BURST = 3
"""Fewer frames would tell little of how things move, and cost as much as what happens elsewhere."""
_LOAN, _AT_REST, _ALL_NEW = 1.0, 0.5, 0.7
"""Keyframes that may be borrowed for a peak of motion that stands out or where restlessness is less than the second, and for a
change of the third at least."""
_RESTLESS_COSTS = 1.5
"""A change that goes on costs more than what peaks, settles or appears: where all changes always, fewer will do."""
_SHORTEST_WAIT, _LONGEST_WAIT = MediaTime.of(0.3), MediaTime.of(1.2)
"""How long a change is waited for to come to rest; for what comes of a peak of motion no longer than the second."""
_REMAINS, _RESULT_NEEDS = 0.7, 0.1
"""What comes of a peak of motion is chosen in its place if that part of the peak's novelty, and so much at least, is left at rest."""
_CAN_WAIT = MediaTime.of(1.5)
"""What is small and stays is chosen no sooner than this after the last keyframe."""
_PASSING = MediaTime.of(0.3)
"""A change so short before a cut is not chosen."""
_RETURN = MediaTime.of(3)
_RETURNED, _FAR = 0.1, 0.5
"""Novelty against the keyframe before the last below which all is again as it was then, and the part of that against the last."""


@dataclass(frozen=True)
class Pick(Generic[Payload]):
    """A frame that is chosen."""

    frame: Seen[Payload]
    reason: scene_pb2.KeyframeReason
    score: float
    """Novelty against the last keyframe before the frame, 0 to 1."""


@dataclass(frozen=True)
class _Waiting(Generic[Payload]):
    """A change that is chosen unless it turns out to be the way to the next scene, or a peak of motion unless something comes of it."""

    frame: Seen[Payload]
    reason: scene_pb2.KeyframeReason
    price: float = 1.0
    novelty: float = 0.0
    """How new the picture at a peak of motion was, of which it is waited what remains."""


class SceneWatch(Generic[Payload]):
    """Watches one scene, from its first keyframe."""

    def __init__(self, options: Options, first: Seen[Payload], *, before: MediaTime | None) -> None:
        """`before` is when the scene before this began; `None` where nothing came before."""
        self._options = options
        self._budget = Budget(options, first.time, before=before)
        self._reference: Look = first.look
        self._lasting: Look = first.look
        """Of the last keyframe that is no peak of motion."""
        self._reference_at = first.time
        self._reference_strokes = strokes(first.luma)
        self._earlier: tuple[Look, Strokes] | None = None
        self._slot = first.time.nanos // PERIOD.nanos
        self._last: tuple[MediaTime, Look] = (first.time, first.look)
        self._view = View(first.look)
        self._motion: Motion[Payload] = Motion()
        self._resting = Resting()
        self._light: deque[float] = deque(maxlen=_LIGHT_LOOKS)
        self._was_new = False
        self._waiting: _Waiting[Payload] | None = None
        self._writing: deque[tuple[MediaTime, Look, Strokes]] = deque([(first.time, first.look, self._reference_strokes)], maxlen=6)

    def take(self, frame: Seen[Payload], *, due: bool = False) -> list[Pick[Payload]]:
        """Take the scene's next frame; what is chosen now, in order of time, this frame last.

        `due` tells that no later frame comes in time for the longest gap.
        """
        slot, self._slot = self._slot, frame.time.nanos // PERIOD.nanos
        picks = self._look(frame) if slot != self._slot else []
        if not picks and (due or frame.time - self._reference_at >= self._options.maximum_gap):
            picks = self.finish() or [self._pick(frame, scene_pb2.KEYFRAME_REASON_INTERVAL)]
        return picks

    def leave(self, time: MediaTime, *, cut: bool) -> list[Pick[Payload]]:
        """The scene ends at `time`, with a cut or gradually; what was waited for, unless it belongs to what follows."""
        if self._waiting is None or not cut:
            return []
        if self._waiting.reason == scene_pb2.KEYFRAME_REASON_CHANGE and time - self._waiting.frame.time < _PASSING:
            return []
        return self.finish()

    def finish(self) -> list[Pick[Payload]]:
        """What was waited for: no frame follows."""
        if self._waiting is None:
            return []
        waiting, self._waiting = self._waiting, None
        return [self._pick(waiting.frame, waiting.reason, waiting.price)]

    def _look(self, frame: Seen[Payload]) -> list[Pick[Payload]]:
        (before, last), self._last = self._last, (frame.time, frame.look)
        close = frame.time - before <= SPARSE
        blocks, whole = self._view.follow(frame.look)
        if close:
            self._motion.add(frame, blocks, whole)
        else:
            self._motion.pause((frame.time - before).nanos // PERIOD.nanos, blocks, whole)
        if self._has_writing(frame):
            return [*self.finish(), self._pick(frame, scene_pb2.KEYFRAME_REASON_TEXT)]
        if self._waiting is None and self._earlier is not None and self._has_returned(self._earlier[0], frame):
            self._reference, self._reference_strokes = self._earlier
            self._view.set_keyframe(self._reference)
        if self._stays(frame, last):
            self._waiting = None
            return [self._pick(frame, scene_pb2.KEYFRAME_REASON_CHANGE)]
        if self._waiting is not None:
            return self._wait(self._waiting, frame, close)
        tokens = self._budget.at(frame.time)
        needed = self._needed(tokens, frame.time)
        if burst := self._burst(tokens, needed):
            return burst
        if self._waiting is not None or tokens < 1 - _LOAN:
            return self._nothing()
        return self._change(frame, last, needed, close, borrowed=tokens < 1)

    def _nothing(self) -> list[Pick[Payload]]:
        self._was_new = False
        return []

    def _stays(self, frame: Seen[Payload], last: Look) -> bool:
        """Whether something small has changed, and stays, in a picture that is usually at rest."""
        waited = frame.time - self._reference_at >= max(_CAN_WAIT, self._options.minimum_gap)
        if not (waited and self._motion.is_usually_at_rest and self._motion.rests and self._view.is_steady):
            self._resting.forget()
            return False
        return self._resting.differs(self._reference, last, frame.look) and self._budget.at(frame.time) >= 1

    def _change(self, frame: Seen[Payload], last: Look, needed: float, close: bool, *, borrowed: bool) -> list[Pick[Payload]]:
        """The frame, if it is new, or nothing yet: until it is known what the change leads to, it waits."""
        settled = self._motion.has_settled()
        if settled:
            needed *= _SETTLED_NEEDS
        new = frame.time - self._reference_at >= self._options.minimum_gap and self._is_new(frame.look, needed)
        new = new and (not borrowed or self._view.is_another(frame.look, _ALL_NEW))
        was_new, self._was_new = self._was_new, new
        if not new or (close and not was_new) or self._motion.peak_comes:
            return []
        if not close:
            return [self._pick(frame, scene_pb2.KEYFRAME_REASON_CHANGE)]
        if self._shows_writing(frame, last):
            return [self._pick(frame, scene_pb2.KEYFRAME_REASON_TEXT)]
        self._waiting = _Waiting(frame, scene_pb2.KEYFRAME_REASON_CHANGE, price=1.0 if settled else _RESTLESS_COSTS)
        return []

    def _wait(self, waiting: _Waiting[Payload], frame: Seen[Payload], close: bool) -> list[Pick[Payload]]:
        """What is waited for, when the picture comes to rest, frames no longer follow each other closely, or it took too long."""
        waited = frame.time - waiting.frame.time
        if waiting.reason == scene_pb2.KEYFRAME_REASON_CHANGE:
            at_rest = waited >= _SHORTEST_WAIT and self._motion.comes_to_rest()
        else:
            at_rest = self._motion.rests
            if close and at_rest and self._remains(waiting, frame):
                self._waiting = None
                return [self._pick(frame, scene_pb2.KEYFRAME_REASON_CHANGE)]
        return self.finish() if at_rest or not close or waited >= _LONGEST_WAIT else []

    def _remains(self, waiting: _Waiting[Payload], frame: Seen[Payload]) -> bool:
        """Whether most of what was new at the peak is still new now, also against the last keyframe that shows more than what passed."""
        needed = max(_RESULT_NEEDS, _REMAINS * waiting.novelty)
        return self._view.novelty(frame.look) >= needed and novelty(self._lasting, frame.look) >= needed

    def _pick(self, frame: Seen[Payload], reason: scene_pb2.KeyframeReason, price: float = 1.0) -> Pick[Payload]:
        """Choose the frame, and pay for it."""
        picked = Pick(frame, reason, novelty(self._reference, frame.look))
        self._budget.pay(frame.time, price)
        self._earlier = (self._reference, self._reference_strokes)
        self._reference, self._reference_at = frame.look, frame.time
        if reason != scene_pb2.KEYFRAME_REASON_MOTION_PEAK:
            self._lasting = frame.look
        self._reference_strokes = strokes(frame.luma)
        self._view.set_keyframe(frame.look)
        self._resting.forget()
        self._light.clear()
        self._was_new = False
        return picked

    def _has_returned(self, earlier: Look, frame: Seen[Payload]) -> bool:
        """Whether what the last keyframe shows is gone, and all is as in the keyframe before."""
        if frame.time - self._reference_at > _RETURN:
            return False
        return novelty(earlier, frame.look) < min(_RETURNED, _FAR * novelty(self._reference, frame.look))

    def _needed(self, tokens: float, time: MediaTime) -> float:
        """The novelty that is needed: the less, the longer the last keyframe is past and the more may still be chosen."""
        waited = max(0.0, (time - self._reference_at - self._options.minimum_gap).seconds)
        fuller = _FULLER if tokens >= 2 else 1.0
        return self._options.change * max(_LEAST_CHANGE, 1 - _EASIER * waited) * fuller

    def _is_new(self, now: Look, needed: float) -> bool:
        """Whether the picture is new enough against the last keyframe."""
        found = self._view.novelty(now, least=needed / 2)
        if shape_distance(self._reference, now) < _SAME_SHAPE:
            # Only the light is another: it must stay so.
            self._light.append(found)
            return len(self._light) == _LIGHT_LOOKS and min(self._light) >= needed
        return found >= needed

    def _burst(self, tokens: float, needed: float) -> list[Pick[Payload]]:
        """The frames around a peak of motion two looks ago, if it is fast and the budget allows; else one of them waits."""
        peak = self._motion.peak() if tokens >= 1 - _LOAN else None
        if peak is None or peak.at.time - self._reference_at < self._options.minimum_gap:
            return []
        if peak.after is not None and not peak.is_partial and self._view.novelty(peak.after.look) < _RETURNED:
            return []  # A flash.
        restlessness = self._motion.restlessness()
        if tokens < 1 and restlessness >= _AT_REST and not peak.outstanding:
            return []
        calm = _OUTSTANDING if peak.outstanding else max(restlessness, _LEAST_RESTLESS)
        if not self._is_new(peak.at.look, _PEAK_NEEDS * needed * calm):
            return []
        self._motion.take_peak()
        count = int(tokens) if peak.fast else 1
        if count < _BURST:
            found = self._view.novelty(peak.at.look)
            self._waiting = _Waiting(self._newer(peak), scene_pb2.KEYFRAME_REASON_MOTION_PEAK, novelty=found)
            return []
        return [self._pick(frame, scene_pb2.KEYFRAME_REASON_MOTION_PEAK) for frame in peak.around[:count] if frame is not None]

    def _newer(self, peak: Peak[Payload]) -> Seen[Payload]:
        """Of the peak and the look after it, where less is blurred, the one that shows more that is new."""
        if peak.after is None or novelty(self._reference, peak.after.look) <= novelty(self._reference, peak.at.look):
            return peak.at
        return peak.after

    def _shows_writing(self, frame: Seen[Payload], last: Look) -> bool:
        """Whether what is new against the last keyframe is writing."""
        now = strokes(frame.luma)
        changed = cell_differences(self._reference, frame.look)
        return appeared(now, now, self._reference_strokes, moved=cell_differences(last, frame.look), changed=changed)

    def _has_writing(self, frame: Seen[Payload]) -> bool:
        """Whether writing has appeared that the last keyframe does not show."""
        latest_at, latest, lately = self._writing[-1]
        if frame.time - latest_at < _WRITING_PERIOD:
            return False
        now = strokes(frame.luma)
        earlier = [each for each in self._writing if frame.time - each[0] >= _WRITING_BEFORE and each[0] < latest_at]
        self._writing.append((frame.time, frame.look, now))
        if not earlier or self._budget.at(frame.time) < 0:
            return False
        before = np.maximum(self._reference_strokes, np.maximum.reduce([each[2] for each in earlier[-2:]]))
        if int((now - before).max()) < 4:
            return False
        moved = cell_differences(latest, frame.look)
        changed = cell_differences(earlier[-1][1], frame.look)
        return appeared(now, lately, before, moved=moved, changed=changed)
