"""Fill the scene memory: what was cleared of one stream goes in, what was withheld comes out again."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

from google.protobuf.message import Message
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.safety_pb2 import Verdict, Withheld
from watchword.v1.scene_pb2 import Keyframe, SceneCaption
from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.caption.messages import glances_of
from pipeline.errors import MediaUndecodable, MessageInvalid
from pipeline.memory.inview import read, source_of, stretches
from pipeline.memory.pictures import thumbnail
from pipeline.memory.sentences import parted, sentences
from pipeline.memory.store import Entry, Facts, Judgement, Kind, Moment, Picture, SceneStore, Word
from pipeline.qa.model import Embedder
from pipeline.qa.visual import PictureEmbedder, as_moment
from pipeline.timeline import MediaTime

MAX_CHARACTERS = 2000
"""What is stored of one description or line; more than the embedder hears."""
MAX_LINES = 64
"""How many lines of one scene are stored."""


class Index:
    """One stream's share of the index step: finals and captions are embedded and stored, keyframes as thumbnails. It says nothing.

    Every store call replaces what is known under an id, so an item read again changes nothing and none is held.
    """

    def __init__(self, stream_id: str, store: SceneStore, embedder: Embedder, looks: PictureEmbedder | None = None) -> None:
        """With `looks` a keyframe can be found by what it looks like."""
        self._looks = looks
        self._stream_id = stream_id
        self._store = store
        self._embedder = embedder
        self._seen = False
        self._started_at: float | None = None

    @property
    def held(self) -> int:
        """None: what was taken in is stored."""
        return 0

    def began_at(self, unix_s: float) -> None:
        """Take note of when the stream's first packet was sent; it is stored with the next item."""
        self._started_at = unix_s

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """Store a final, but no translation, a caption or a keyframe, forget what is withheld, and pass over the rest."""
        if not isinstance(item, ClearedEvent):
            raise MessageInvalid(f"Indexing stream {self._stream_id}: a {type(item).__name__} is no event of the topic cleared.")
        match item.WhichOneof("event"):
            case "segment" if item.segment.is_final and not item.segment.translation_of:
                self._own(item.segment.stream_id, item.segment.id)
                await self._put(_spoken(item.segment))
            case "caption":
                self._own(item.caption.stream_id, item.caption.id)
                await self._put(_shown(item.caption))
                # Where nothing was searched, as by a model that describes the scene again, what was counted stays.
                if item.caption.searched or item.caption.seen:
                    await self._put(_in_view(item.caption))
            case "keyframe" if item.keyframe.jpeg:
                self._own(item.keyframe.stream_id, item.keyframe.id)
                await self._put(await self._pictured(item.keyframe))
            case "withheld":
                self._own(item.withheld.stream_id, item.withheld.id)
                await self._store.remove(self._stream_id, item.withheld.id, _withheld(item.withheld))
                if item.withheld.kind == "scene":
                    await self._store.remove(self._stream_id, source_of(item.withheld.id))
            case "segment" | "gap" as event if not self._seen:
                await self._see(MediaTime.from_proto(getattr(item, event).media_start))
        return
        yield

    async def flush(self) -> AsyncIterator[Message]:
        """Take note that the stream is complete."""
        await self._store.end(self._stream_id)
        return
        yield

    def close(self) -> None:
        """Nothing to release: store and embedder are shared."""

    def _own(self, stream_id: str, item_id: str) -> None:
        if stream_id != self._stream_id:
            raise MessageInvalid(f"Indexing stream {self._stream_id}: {item_id} belongs to stream {stream_id}.")

    async def _see(self, latest: MediaTime) -> None:
        await self._store.see(self._stream_id, latest, Facts(started_at=self._started_at))
        self._seen = True

    async def _put(self, entry: Entry) -> None:
        if not len(entry.vectors):
            entry = replace(entry, vectors=await self._embedder.embed([moment.text for moment in entry.moments]))
        await self._store.put_all([replace(entry, facts=replace(entry.facts, started_at=self._started_at))])
        self._seen = True

    async def _pictured(self, keyframe: Keyframe) -> Entry:
        at = MediaTime.from_proto(keyframe.media_time)
        try:
            jpeg, width, height = await asyncio.to_thread(thumbnail, keyframe.jpeg)
        except MediaUndecodable as error:
            raise MediaUndecodable(f"Indexing stream {self._stream_id}, keyframe {keyframe.id}: {error}") from error
        entry = Entry(
            keyframe.stream_id,
            keyframe.id,
            picture=Picture(keyframe.stream_id, keyframe.id, at, keyframe.scene_id, width, height, jpeg, keyframe.score),
            judgement=_judged(keyframe.stream_id, keyframe.id, "keyframe", at, at, keyframe.verdict),
            facts=Facts(width=keyframe.width, height=keyframe.height),
        )
        if self._looks is None:
            return entry
        (looks,) = await self._looks.pictures([keyframe.jpeg])
        seen = as_moment(keyframe.stream_id, keyframe.id, at, looks, self._looks.name)
        return replace(entry, moments=(seen,), vectors=looks.vector[None])


def moments_of(event: ClearedEvent) -> tuple[Moment, ...]:
    """What an event says or shows, as it is stored; nothing for a partial, a translation and all that is not words."""
    match event.WhichOneof("event"):
        case "segment" if event.segment.is_final and not event.segment.translation_of:
            return _spoken(event.segment).moments
        case "caption":
            told = _shown(event.caption).moments
            return (*told, *_things(_in_view(event.caption).moments))
        case _:
            return ()


def _spoken(segment: TranscriptSegment) -> Entry:
    start, end = MediaTime.from_proto(segment.media_start), MediaTime.from_proto(segment.media_end)
    words = [Word(word.text, MediaTime.from_proto(word.media_start), MediaTime.from_proto(word.media_end)) for word in segment.words]
    parts = sentences(segment.text, words, start, end)
    moments = tuple(
        Moment(segment.stream_id, segment.id, Kind.SPEECH, number, part.text[:MAX_CHARACTERS], part.start, part.end, segment.model)
        for number, part in enumerate(parts)
    )
    return Entry(
        segment.stream_id,
        segment.id,
        moments,
        words={moment.id: own for moment, own in zip(moments, parted(parts, words), strict=True) if own},
        judgement=_judged(segment.stream_id, segment.id, "transcript", start, end, segment.verdict),
        latest=end,
        facts=Facts(language=segment.language),
    )


def _shown(caption: SceneCaption) -> Entry:
    start, end = MediaTime.from_proto(caption.media_start), MediaTime.from_proto(caption.media_end)
    told = [(Kind.DESCRIPTION, caption.text, start, end)]
    told += [(Kind.ON_SCREEN_TEXT, line, start, end) for line in caption.on_screen_text[:MAX_LINES]]
    told += [(Kind.DESCRIPTION, caption.detail, start, end)]
    for action in caption.actions:
        begin, close = MediaTime.from_proto(action.media_start), MediaTime.from_proto(action.media_end)
        told.append((Kind.DESCRIPTION, action.what, begin, close))
    moments = tuple(
        Moment(caption.stream_id, caption.id, kind, number, text.strip()[:MAX_CHARACTERS], begin, close, caption.model)
        for number, (kind, text, begin, close) in enumerate(told)
        if text.strip()
    )
    judgement = _judged(caption.stream_id, caption.id, "scene", start, end, caption.verdict)
    # Two steps describe a scene and either may be first: the memory keeps the higher revision.
    return Entry(caption.stream_id, caption.id, moments, revision=caption.revision, judgement=judgement, latest=end)


def _in_view(caption: SceneCaption) -> Entry:
    """What a detector saw, as a source of its own: a model that describes the scene again has not counted it again."""
    source = source_of(caption.id)
    moments = tuple(
        Moment(caption.stream_id, source, Kind.IN_VIEW, number, each.text[:MAX_CHARACTERS], each.start, each.end, caption.model)
        for number, each in enumerate(stretches(glances_of(caption)))
    )
    return Entry(caption.stream_id, source, moments, revision=caption.revision)


def _things(lines: Sequence[Moment]) -> Iterator[Moment]:
    """Each thing of the lines as what is shown: whoever waits for two people is not told of two bottles and a person.

    They keep the lines' source, so that none is taken for a sentence of a better description.
    """
    items = ((line, item) for line in lines for item in read(line.text))
    for number, (line, item) in enumerate(items):
        yield replace(line, kind=Kind.DESCRIPTION, part=number, text=item.text)


def _withheld(withheld: Withheld) -> Judgement:
    start, end = MediaTime.from_proto(withheld.media_start), MediaTime.from_proto(withheld.media_end)
    return Judgement(withheld.stream_id, withheld.id, withheld.kind, start, end, withheld.verdict)


def _judged(stream_id: str, item_id: str, kind: str, start: MediaTime, end: MediaTime, verdict: Verdict) -> Judgement | None:
    return Judgement(stream_id, item_id, kind, start, end, verdict) if verdict.ByteSize() else None
