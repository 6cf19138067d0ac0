"""The stage that fills the scene memory."""

import asyncio
import io

import numpy as np
import pytest
from google.protobuf.message import Message
from PIL import Image
from watchword.v1.events_pb2 import CaptionEvent, ClearedEvent
from watchword.v1.media_pb2 import Gap
from watchword.v1.safety_pb2 import Action, Verdict, Withheld
from watchword.v1.scene_pb2 import Keyframe, SceneCaption
from watchword.v1.transcript_pb2 import TranscriptSegment, Word

from pipeline.errors import MediaUndecodable, MessageInvalid, ModelMissing
from pipeline.memory.pictures import thumbnail
from pipeline.memory.sentences import Timed, parted, sentences
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.stage import Index
from pipeline.memory.store import Facts, Kind
from tests.fakes import ScriptedEmbedder
from tests.pipeline.store_suite import at, texts

pytestmark = pytest.mark.unit


def word(text: str, start: float, end: float) -> Word:
    return Word(text=text, media_start=at(start).to_proto(), media_end=at(end).to_proto())


def segment(text: str, *, start: float = 1.0, each: float = 0.5, final: bool = True, words: list[Word] | None = None) -> ClearedEvent:
    written = text.split()
    if words is None:
        words = [word(part, start + n * each, start + (n + 1) * each) for n, part in enumerate(written)]
    said = TranscriptSegment(stream_id="s", id=f"segment-{at(start).millis}", is_final=final, text=text, words=words, model="w")
    said.media_start.CopyFrom(at(start).to_proto())
    said.media_end.CopyFrom(at(start + each * len(written)).to_proto())
    return ClearedEvent(segment=said)


def caption(text: str, *lines: str, stream: str = "s") -> ClearedEvent:
    scene = SceneCaption(stream_id=stream, id="scene-0", text=text, on_screen_text=lines, model="c")
    scene.media_start.CopyFrom(at(0).to_proto())
    scene.media_end.CopyFrom(at(9).to_proto())
    return ClearedEvent(caption=scene)


async def feed(stage: Index, *items: Message) -> list[Message]:
    return [output for item in items for output in [each async for each in stage.process(item)]]


def indexed(*items: Message) -> dict[Kind, list[tuple[str, str, float, float]]]:
    """What is stored of each kind when a stage has taken the items: source, text, start and end."""

    async def test() -> dict[Kind, list[tuple[str, str, float, float]]]:
        store = SqliteStore()
        stage = Index("s", store, ScriptedEmbedder())
        assert await feed(stage, *items) == []
        assert [each async for each in stage.flush()] == []
        assert stage.held == 0
        stage.close()
        found = {kind: await store.between("s", kind) for kind in (Kind.SPEECH, Kind.DESCRIPTION, Kind.ON_SCREEN_TEXT)}
        state = await store.stream("s")
        assert state is not None
        assert state.ended
        await store.close()
        return {kind: [(m.source_id, m.text, m.start.seconds, m.end.seconds) for m in moments] for kind, moments in found.items()}

    return asyncio.run(test())


def test_a_final_is_stored_by_sentence_with_word_times_and_a_partial_is_not():
    stored = indexed(segment("Not yet fin", final=False), segment("It opens at nine. Come early, Mr. Bell! Good."))
    assert stored[Kind.SPEECH] == [
        ("segment-1000", "It opens at nine.", 1.0, 3.0),
        ("segment-1000", "Come early, Mr. Bell!", 3.0, 5.0),
        ("segment-1000", "Good.", 5.0, 5.5),
    ]


def test_a_caption_is_stored_as_description_and_lines():
    stored = indexed(caption("A slide.", "ROOM 42", " ", "Doors open"))
    assert stored[Kind.DESCRIPTION] == [("scene-0", "A slide.", 0.0, 9.0)]
    assert [text for _, text, _, _ in stored[Kind.ON_SCREEN_TEXT]] == ["ROOM 42", "Doors open"]


def test_what_is_withheld_is_forgotten_and_other_events_store_nothing():
    stored = indexed(
        segment("This stays."),
        segment("This goes.", start=9),
        caption("So does this."),
        ClearedEvent(withheld=Withheld(stream_id="s", id="segment-9000", kind="transcript")),
        ClearedEvent(withheld=Withheld(stream_id="s", id="scene-0", kind="scene")),
        ClearedEvent(keyframe=Keyframe(stream_id="s", id="keyframe-0")),
        ClearedEvent(gap=Gap(stream_id="s", id="gap-0")),
    )
    assert stored == {Kind.SPEECH: [("segment-1000", "This stays.", 1.0, 2.0)], Kind.DESCRIPTION: [], Kind.ON_SCREEN_TEXT: []}


def test_an_item_read_again_changes_nothing():
    items = [segment("One. Two."), caption("A picture.", "a line")]
    assert indexed(*items, *items) == indexed(*items)


def test_an_older_revision_of_a_caption_changes_nothing_after_a_restart_either():
    async def test() -> None:
        store = SqliteStore()
        better, draft = caption("A better one."), caption("A draft.")
        better.caption.revision = 1
        for item in (better, draft):
            await feed(Index("s", store, ScriptedEmbedder()), item)
        assert await texts(store, kind=Kind.DESCRIPTION) == ["A better one."]
        await store.close()

    asyncio.run(test())


def test_the_text_as_cleared_counts_where_words_were_masked_together():
    stored = indexed(
        segment("My number is ███.", words=[word(w, n, n + 1) for n, w in enumerate(["My", "number", "is", "5", "5", "5."], start=1)])
    )
    assert [text for _, text, _, _ in stored[Kind.SPEECH]] == ["My number is ███."]


def noise(width: int, height: int) -> bytes:
    """A picture that JPEG can do little with."""
    out = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


@pytest.mark.parametrize(("width", "height"), [(448, 252), (252, 448), (2000, 1500), (8, 8), (3000, 2)])
def test_a_thumbnail_is_small_whatever_the_picture(width: int, height: int) -> None:
    jpeg = noise(width, height)
    small, own_width, own_height = thumbnail(jpeg)
    assert len(small) <= 24_000
    assert max(own_width, own_height) <= min(320, max(width, height))
    with Image.open(io.BytesIO(small)) as picture:
        assert picture.size == (own_width, own_height)
    assert thumbnail(jpeg)[0] == small


def test_words_with_times_thumbnails_verdicts_and_facts_are_kept() -> None:
    async def test() -> None:
        store = SqliteStore()
        stage = Index("s", store, ScriptedEmbedder())
        stage.began_at(1_700_000_000.25)
        said = segment("It opens at nine. Come early!")
        said.segment.language = "en"
        said.segment.verdict.action = Action.ACTION_ALLOW
        keyframe = Keyframe(stream_id="s", id="keyframe-2000", scene_id="scene-0", jpeg=noise(448, 252), width=448, height=252)
        keyframe.media_time.CopyFrom(at(2).to_proto())
        keyframe.verdict.action = Action.ACTION_FLAG
        withheld = Withheld(stream_id="s", id="scene-0", kind="scene", verdict=Verdict(action=Action.ACTION_BLOCK, cause="a policy"))
        assert await feed(stage, said, ClearedEvent(keyframe=keyframe), ClearedEvent(withheld=withheld)) == []
        first, second = (f"segment-1000/speech/{part}" for part in (0, 1))
        words = await store.words("s", [first, second])
        assert [(word.text, word.start.seconds) for word in words[first]] == [("It", 1.0), ("opens", 1.5), ("at", 2.0), ("nine.", 2.5)]
        assert [word.text for word in words[second]] == ["Come", "early!"]
        (picture,) = await store.pictures("s")
        assert (picture.id, picture.at, picture.scene_id, picture.width, picture.height) == ("keyframe-2000", at(2), "scene-0", 320, 180)
        told = {each.item_id: (each.kind, each.verdict.action) for each in await store.judgements("s")}
        assert told == {
            "segment-1000": ("transcript", Action.ACTION_ALLOW),
            "keyframe-2000": ("keyframe", Action.ACTION_FLAG),
            "scene-0": ("scene", Action.ACTION_BLOCK),
        }
        state = await store.stream("s")
        assert state is not None
        assert state.facts == Facts(1_700_000_000.25, "en", 448, 252)
        await store.close()

    asyncio.run(test())


def test_words_that_are_not_those_of_the_masked_text_are_not_kept() -> None:
    async def test() -> None:
        store = SqliteStore()
        heard = [word(text, n, n + 1) for n, text in enumerate(["My", "number", "is", "555"], start=1)]
        await feed(Index("s", store, ScriptedEmbedder()), segment("My number is ███", words=heard))
        assert await store.words("s", ["segment-1000/speech/0"]) == {}
        assert await texts(store) == ["My number is ███"]
        await store.close()

    asyncio.run(test())


def test_words_without_spaces_between_them_belong_to_their_sentences() -> None:
    line = [Timed(sign, at(n), at(n + 1)) for n, sign in enumerate("今日は晴れ。")]
    assert parted([Timed("今日は晴れ。", at(0), at(6))], line) == [tuple(line)]


def test_a_picture_that_is_none_is_refused_with_its_name() -> None:
    stage = Index("s", SqliteStore(), ScriptedEmbedder())
    with pytest.raises(MediaUndecodable, match="stream s, keyframe keyframe-7"):
        asyncio.run(feed(stage, ClearedEvent(keyframe=Keyframe(stream_id="s", id="keyframe-7", jpeg=b"no picture"))))


def test_a_stream_is_known_by_its_first_event_of_any_sort():
    async def test() -> None:
        store = SqliteStore()
        stage = Index("s", store, ScriptedEmbedder())
        await feed(stage, segment("Not yet", start=4, final=False))
        assert (await store.stream("s")) is not None
        await store.close()

    asyncio.run(test())


@pytest.mark.parametrize("item", [caption("x", stream="t"), CaptionEvent()], ids=["of another stream", "of another topic"])
def test_a_wrong_item_is_refused_and_the_next_one_taken(item):
    async def test() -> None:
        store = SqliteStore()
        stage = Index("s", store, ScriptedEmbedder())
        with pytest.raises(MessageInvalid, match="stream s"):
            await feed(stage, item)
        await feed(stage, caption("A picture."))
        assert await texts(store, kind=Kind.DESCRIPTION) == ["A picture."]
        assert await store.stream("t") is None
        await store.close()

    asyncio.run(test())


def test_an_embedder_that_fails_refuses_only_its_item():
    async def test() -> None:
        store = SqliteStore()
        stage = Index("s", store, ScriptedEmbedder(ModelMissing("gone")))
        with pytest.raises(ModelMissing):
            await feed(stage, segment("Lost."))
        await feed(stage, segment("Found."))
        assert await texts(store) == ["Found."]
        await store.close()

    asyncio.run(test())


def timed(text: str, *, each: float = 1.0, pause_after: int = -1) -> list[Timed]:
    words, time = [], 0.0
    for number, written in enumerate(text.split()):
        words.append(Timed(written, at(time), at(time + each)))
        time += each + (0.9 if number == pause_after else 0.0)
    return words


def test_a_long_sentence_is_parted_at_its_longest_pause():
    text = "we walked along the river for a long while and then we saw the mill"
    words = timed(text, pause_after=8)
    parts = sentences(text, words, words[0].start, words[-1].end)
    assert [part.text for part in parts] == ["we walked along the river for a long while", "and then we saw the mill"]
    assert all(part.end - part.start <= at(12) for part in parts)
    assert parts[1].start == words[9].start


def test_a_text_without_words_or_with_too_few_has_the_segments_times():
    assert sentences("One. Two.", [], at(1), at(3)) == [Timed("One.", at(1), at(3)), Timed("Two.", at(1), at(3))]
    assert sentences(" ", [], at(1), at(3)) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It costs 3.50 now. Yes.", 2),
        ("Dr. Lee and J. Smith came.", 1),
        ("Wait... what? No!", 2),
        ("at nine a.m. we met", 1),
        ("“Go.” She went.", 2),
    ],
)
def test_sentences_end_where_they_end(text, count):
    assert len(sentences(text, timed(text, each=0.1), at(0), at(1))) == count


def test_what_happens_in_a_scene_is_stored_with_its_own_time() -> None:
    described = caption("A man at a door.", "EXIT")
    described.caption.detail = "He wears a hat."
    described.caption.actions.add(what="He waves.", media_start=at(2).to_proto(), media_end=at(3.5).to_proto())
    found = indexed(described)
    assert found[Kind.DESCRIPTION] == [
        ("scene-0", "A man at a door.", 0.0, 9.0), ("scene-0", "He wears a hat.", 0.0, 9.0), ("scene-0", "He waves.", 2.0, 3.5),
    ]  # fmt: skip


@pytest.mark.parametrize("order", [(1, 100), (100, 1), (1, 100, 2)])
def test_of_two_descriptions_of_a_scene_the_higher_revision_is_stored(order: tuple[int, ...]) -> None:
    told = []
    for revision in order:
        described = caption(f"Revision {revision}.")
        described.caption.revision = revision
        told.append(described)
    assert [text for _, text, _, _ in indexed(*told)[Kind.DESCRIPTION]] == ["Revision 100."]
