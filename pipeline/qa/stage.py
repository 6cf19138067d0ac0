"""Fill the scene memory: what was cleared of one stream goes in, what was withheld comes out again."""

from collections import OrderedDict
from collections.abc import AsyncIterator

from google.protobuf.message import Message
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.scene_pb2 import SceneCaption
from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.errors import MessageInvalid
from pipeline.qa.model import Embedder
from pipeline.qa.sentences import Timed, sentences
from pipeline.qa.store import Kind, Moment, SceneStore
from pipeline.timeline import MediaTime

MAX_CHARACTERS = 2000
"""What is stored of one description or line; more than the embedder hears."""
MAX_LINES = 64
"""How many lines of one scene are stored."""
REMEMBERED = 512
"""Captions of a stream whose revision is known; they come within a scene or two of each other."""


class Index:
    """One stream's share of the index step: finals and captions are embedded and stored. It says nothing.

    Every store call replaces what is known under an id, so an item read again changes nothing and none is held.
    """

    def __init__(self, stream_id: str, store: SceneStore, embedder: Embedder) -> None:
        self._stream_id = stream_id
        self._store = store
        self._embedder = embedder
        self._seen = False
        self._revisions: OrderedDict[str, int] = OrderedDict()
        """The highest revision of the latest captions. Not held: what is forgotten in a crash can only put an older one back."""

    @property
    def held(self) -> int:
        """None: what was taken in is stored."""
        return 0

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """Store a final, but no translation, or a caption, forget what is withheld, and pass over the rest."""
        if not isinstance(item, ClearedEvent):
            raise MessageInvalid(f"Indexing stream {self._stream_id}: a {type(item).__name__} is no event of the topic cleared.")
        match item.WhichOneof("event"):
            case "segment" if item.segment.is_final and not item.segment.translation_of:
                await self._put(item.segment.id, _spoken(item.segment))
            case "caption" if self._is_latest(item.caption):
                await self._put(item.caption.id, _shown(item.caption))
            case "withheld":
                await self._see(MediaTime.from_proto(item.withheld.media_end))
                await self._store.remove(self._stream_id, item.withheld.id)
            case "keyframe":
                await self._see(MediaTime.from_proto(item.keyframe.media_time))
            case "segment" | "gap" if not self._seen:
                await self._see(MediaTime.from_proto(getattr(item, item.WhichOneof("event") or "gap").media_start))
        return
        yield

    async def flush(self) -> AsyncIterator[Message]:
        """Take note that the stream is complete."""
        await self._store.end(self._stream_id)
        return
        yield

    def close(self) -> None:
        """Nothing to release: store and embedder are shared."""

    def _is_latest(self, caption: SceneCaption) -> bool:
        """Whether no higher revision of the caption came before: two steps describe a scene, and either may be first."""
        if caption.revision < self._revisions.get(caption.id, 0):
            return False
        self._revisions[caption.id] = caption.revision
        self._revisions.move_to_end(caption.id)
        if len(self._revisions) > REMEMBERED:
            self._revisions.popitem(last=False)
        return True

    async def _see(self, latest: MediaTime) -> None:
        await self._store.see(self._stream_id, latest)
        self._seen = True

    async def _put(self, source_id: str, moments: list[Moment]) -> None:
        stray = next((moment.stream_id for moment in moments if moment.stream_id != self._stream_id), None)
        if stray is not None:
            raise MessageInvalid(f"Indexing stream {self._stream_id}: {source_id} belongs to stream {stray}.")
        vectors = await self._embedder.embed([moment.text for moment in moments])
        await self._store.put(self._stream_id, source_id, moments, vectors)
        self._seen = True


def _spoken(segment: TranscriptSegment) -> list[Moment]:
    words = [Timed(word.text, MediaTime.from_proto(word.media_start), MediaTime.from_proto(word.media_end)) for word in segment.words]
    parts = sentences(segment.text, words, MediaTime.from_proto(segment.media_start), MediaTime.from_proto(segment.media_end))
    return [
        Moment(segment.stream_id, segment.id, Kind.SPEECH, number, part.text[:MAX_CHARACTERS], part.start, part.end, segment.model)
        for number, part in enumerate(parts)
    ]


def _shown(caption: SceneCaption) -> list[Moment]:
    start, end = MediaTime.from_proto(caption.media_start), MediaTime.from_proto(caption.media_end)
    actions = [
        (Kind.DESCRIPTION, action.what, MediaTime.from_proto(action.media_start), MediaTime.from_proto(action.media_end))
        for action in caption.actions
    ]
    told = [(Kind.DESCRIPTION, caption.text, start, end)]
    told += [(Kind.ON_SCREEN_TEXT, line, start, end) for line in caption.on_screen_text[:MAX_LINES]]
    told += [(Kind.DESCRIPTION, caption.detail, start, end), *actions]
    return [
        Moment(caption.stream_id, caption.id, kind, number, text.strip()[:MAX_CHARACTERS], begin, close, caption.model)
        for number, (kind, text, begin, close) in enumerate(told)
        if text.strip()
    ]
