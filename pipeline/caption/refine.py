"""Describes again, with a stronger model, the scenes that matter; its captions take the place of the first ones by their revision.

It is a step of its own beside the one that describes at once, and reads the same keyframes: the first caption never waits for it.
"""

from collections.abc import AsyncIterator, Sequence

from google.protobuf.message import Message
from watchword.v1.safety_pb2 import Action
from watchword.v1.scene_pb2 import Keyframe, SceneBoundary

from pipeline.caption.model import Captioner
from pipeline.caption.stage import Caption
from pipeline.caption.style import PLAIN, Style
from pipeline.telemetry import SCENES_REFINED
from pipeline.timeline import NANOS, MediaTime

REFINED = 100
"""The first revision of a refined caption; a first one is extended far less often."""
NOVEL = 0.3
"""Mean novelty of a scene's keyframes from which it matters."""
_MINUTE = 60 * NANOS
_ALERTS = (Action.ACTION_FLAG, Action.ACTION_REDACT)


class Refine:
    """One stream's share of the step: keyframes and boundaries in, captions of the scenes that matter out.

    A scene matters if the safety filter has flagged one of its keyframes, or if its pictures are new. In each minute of media time so many
    are described, the last place of which is kept for what was flagged. The minute is read again after a crash, so that it makes no
    difference.
    """

    def __init__(
        self, stream_id: str, model: Captioner | None, *, per_minute: int = 4, novel: float = NOVEL, style: Style = PLAIN, extend: int = 0
    ) -> None:
        """Without a model nothing is described."""
        self._caption = Caption(stream_id, model, style=style, extend=extend, worth=self._worth, first_revision=REFINED) if model else None
        self._per_minute, self._novel = per_minute, novel
        self._items = 0
        self._first_of_scene: int | None = None
        """The number of the first item of the scenes that are open."""
        self._minute: int | None = None
        self._since = 0
        """The number of the first item of the present minute."""
        self._spent = 0

    @property
    def held(self) -> int:
        """The items since the first scene of the present minute, or as many as describing needs."""
        if self._caption is None:
            return 0
        return max(self._caption.held, self._items - self._since + 1 if self._minute is not None else 0)

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """Take a keyframe or a boundary; raises as `Caption.process`."""
        if self._caption is None:
            return
        self._items += 1
        if self._first_of_scene is None:
            self._first_of_scene = self._items
        async for said in self._caption.process(item):
            yield said

    async def flush(self) -> AsyncIterator[Message]:
        """As `Caption.flush`."""
        if self._caption is not None:
            async for said in self._caption.flush():
                yield said

    def close(self) -> None:
        """Nothing is held outside Python's memory."""

    def _worth(self, scene: SceneBoundary, keyframes: Sequence[Keyframe]) -> bool:
        first, self._first_of_scene = self._first_of_scene or self._items, None
        minute = MediaTime.from_proto(scene.media_end).nanos // _MINUTE
        if minute != self._minute:
            self._minute, self._since, self._spent = minute, first, 0
        flagged = any(keyframe.verdict.action in _ALERTS for keyframe in keyframes)
        novel = sum(keyframe.score for keyframe in keyframes) / len(keyframes) >= self._novel
        places = self._per_minute if flagged else max(1, self._per_minute - 1)
        if not (flagged or novel) or self._spent >= places:
            return False
        self._spent += 1
        SCENES_REFINED.inc()
        return True
