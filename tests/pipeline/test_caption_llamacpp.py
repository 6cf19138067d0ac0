"""Describing scenes by llama.cpp's own server, in this process, with a tiny random model that sees."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from pipeline.caption.model import Description, SceneView, telling
from pipeline.caption.served import ServedCaptioner
from pipeline.caption.style import Style
from pipeline.errors import SettingInvalid
from tests import tiny_gguf
from tests.tiny_vlm import scene

xllamacpp = pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.connected

KEY = "a key"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with one place, so that a place that is not given back is noticed."""
    text, tower = tiny_gguf.save(tmp_path_factory.mktemp("gguf"))
    asked: Any = xllamacpp.CommonParams()
    asked.model.path, asked.mmproj.path = str(text), str(tower)
    asked.api_keys = [KEY]
    asked.n_ctx, asked.n_parallel, asked.port, asked.warmup = 3072, 1, 0, False
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = 1
    asked.verbosity = 0
    server = xllamacpp.Server(asked)
    yield f"{server.listening_address}/v1"
    del server


def describe(url: str, *views: SceneView, key: str = KEY, tokens: int = 24) -> list[Description]:
    async def all_of() -> list[Description]:
        model = ServedCaptioner(url, model="tiny", key=key, max_new_tokens=tokens)
        try:
            return [await model.describe(view) for view in views]
        finally:
            await model.aclose()

    return asyncio.run(all_of())


def test_a_scene_is_described_by_what_is_seen_and_when(url: str) -> None:
    first, again, other, later = describe(url, scene(1, 2), scene(1, 2), scene(1, 2, colours=("navy", "teal")), scene(1, 50), tokens=24)
    words = set(first.text.removesuffix(" …").split())
    assert words <= set(tiny_gguf.WORDS)
    assert first.text.endswith(" …"), "it would have gone on, which is said"
    assert again.text == first.text
    assert other.text != first.text
    assert later.text != first.text


def test_it_is_told_while_it_is_written(url: str) -> None:
    async def all_of() -> list[str | Description]:
        model = ServedCaptioner(url, model="tiny", key=KEY, max_new_tokens=1_000)
        try:
            return [part async for part in telling(model, scene(1, 2))]
        finally:
            await model.aclose()

    *parts, last = asyncio.run(all_of())
    assert isinstance(last, Description)
    # Parts that came while nobody looked are told as one, so how many there are is the machine's affair: that some come early is not.
    assert len(parts) > 1
    assert len(str(parts[0])) < len(last.text) / 2
    for sooner, later in zip(parts, [*parts[1:], last.text.removesuffix(" …")], strict=True):
        assert str(later).startswith(str(sooner))


def test_a_schema_is_kept_to_even_by_a_model_that_babbles(url: str) -> None:
    (found,) = describe(url, scene(1, 2, style=Style(structured=True)))
    assert found.text
    assert found.detail
    assert "alone" not in found.remark, "its first reply was JSON, if one that had to be closed"


def test_who_leaves_gives_the_only_place_back(url: str) -> None:
    async def run() -> Description:
        model = ServedCaptioner(url, model="tiny", key=KEY, max_new_tokens=3_000)
        try:
            async with aclosing(model.tell(scene(1))) as parts:
                assert isinstance(await anext(parts), str)
            model._max_new_tokens = 8
            return await asyncio.wait_for(model.describe(scene(2)), 60)
        finally:
            await model.aclose()

    assert asyncio.run(run()).text


def test_a_wrong_key_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingInvalid):
        describe(url, scene(1), key="another")


def test_a_scene_too_long_for_the_model_is_refused(url: str) -> None:
    with pytest.raises(SettingInvalid, match="status 400"):
        describe(url, scene(1, style=Style(prompt=("It is a harbour. " * 120)[:1_990], structured=True)))
