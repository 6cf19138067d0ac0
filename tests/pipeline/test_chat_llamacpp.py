"""Answers that SmolLM2 writes, 135 million parameters behind llama.cpp's own server: what is told is held up by what was said."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from watchword.v1.answer_pb2 import Answer

from pipeline.errors import ModelError
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import Kind, Moment
from pipeline.models import locate
from pipeline.qa.composed import ComposedAnswerer
from pipeline.qa.model import load
from pipeline.qa.teller import ChatTeller
from pipeline.served import Server
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.connected

TALK = (
    "A ticket costs 25 pounds, and lunch is included.",
    "The conference opens on Monday at nine thirty.",
    "The cakes are made by David.",
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    xllamacpp = pytest.importorskip("xllamacpp")
    try:
        file = locate("smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    except ModelError as error:
        pytest.skip(f"the chat model is not here: {error}")
    asked: Any = xllamacpp.CommonParams()
    asked.model.path, asked.n_ctx, asked.n_parallel, asked.port, asked.verbosity = str(file), 4096, 1, 0, 0
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(asked)
    yield f"{server.listening_address}/v1"
    del server


def answers(url: str, *questions: str) -> list[Answer]:
    async def run() -> list[Answer]:
        store, embedder = SqliteStore(), load()
        for number, text in enumerate(TALK):
            start = MediaTime.of(5 * number)
            moment = Moment("s", f"item-{number}", Kind.SPEECH, 0, text, start, start + MediaTime.of(4), "m")
            await store.put("s", moment.source_id, [moment], await embedder.embed([text]))
        answerer = ComposedAnswerer("chat", store, embedder, ChatTeller(Server(url, what="chat model"), "smollm2"))
        told = [[part async for part in answerer.ask("s", question)][-1] for question in questions]
        await store.close()
        await embedder.close()
        return [answer for answer in told if isinstance(answer, Answer)]

    return asyncio.run(run())


def test_what_a_small_model_says_is_told_with_what_was_said(url):
    cost, trap = answers(url, "How much does a ticket cost?", "What is the mayor's name?")
    assert cost.supported
    assert "25 pounds" in cost.text
    assert [cited.text for cited in cost.evidence] == [TALK[0]]
    assert not trap.supported
