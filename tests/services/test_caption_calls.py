"""Describing scenes and videos by call, over real channels, with a tiny random model behind them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
from grpc_health.v1 import health
from watchword.v1 import caption_service_pb2_grpc
from watchword.v1.caption_service_pb2 import (
    CaptionStyle,
    CaptionVideoConfig,
    CaptionVideoRequest,
    DescribeSceneRequest,
    SceneToDescribe,
    TellSceneRequest,
)
from watchword.v1.media_pb2 import MediaChunk
from watchword.v1.scene_pb2 import Keyframe, SceneCaption

from pipeline.bus.memory import MemoryBus
from pipeline.media.source import open_source
from pipeline.timeline import MediaTime
from services.incoming.sound import Sound, chunks
from services.rpc import MESSAGE_OPTIONS, reason_of
from services.serve import Parts, start_server
from services.settings import Settings
from tests import synthetic, tiny_vlm
from tests.tiny_vlm import shot

pytestmark = pytest.mark.unit

T = TypeVar("T")


async def serving(checkpoint: Path, stack: AsyncExitStack, *adapters: tuple[str, Path]) -> tuple[Any, Parts]:
    """A stub of a captioner with this model and its adapters, and what it is made of, until the stack ends."""
    from services.captioner.main import build

    settings = Settings(
        captioner="transformers",
        captioner_model=str(checkpoint),
        adapters=tuple(adapters),
        caption_tokens=12,
        decoder="cpu",
        decoder_apart=False,
    )
    parts = await build(settings, MemoryBus())
    if parts.close is not None:
        stack.push_async_callback(parts.close)
    server, address = await start_server(parts.faces, "127.0.0.1:0", Settings(), health.aio.HealthServicer())
    stack.push_async_callback(server.stop, None)
    link = await stack.enter_async_context(grpc.aio.insecure_channel(address, options=MESSAGE_OPTIONS))
    return caption_service_pb2_grpc.CaptionServiceStub(link), parts


class Client:
    """The captioner's face, called from an event loop that goes on from test to test."""

    def __init__(self, checkpoint: Path, *adapters: tuple[str, Path]) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.stub, _ = self.run(serving(checkpoint, self._stack, *adapters))

    def run(self, work: Awaitable[T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(120):
                return await work

        return self._runner.run(bounded())

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def refused(self, work: Awaitable[object]) -> tuple[grpc.StatusCode, str, str]:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            self.run(work)
        return failed.value.code(), reason_of(failed.value), failed.value.details() or ""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    checkpoint = tiny_vlm.save(tmp_path_factory.mktemp("models") / "tiny")
    found = Client(checkpoint, ("shop", tiny_vlm.save_adapter(checkpoint, checkpoint.parent / "shop")))
    yield found
    found.close()


@pytest.fixture(scope="module")
def clip() -> Path:
    """Three shots of two seconds each, and sound that nobody asks for."""
    return synthetic.clip(synthetic.Spec(seconds=6, container="mkv", cuts=(50, 100)))


def scene(*times: float, **fields: Any) -> SceneToDescribe:
    keyframes = [Keyframe(stream_id="s", id=f"k{at}", media_time=MediaTime.of(at).to_proto(), jpeg=shot(at).jpeg) for at in times]
    return SceneToDescribe(stream_id="s", keyframes=keyframes, **fields)


def describe(client: Client, what: SceneToDescribe) -> SceneCaption:
    async def call() -> SceneCaption:
        caption: SceneCaption = (await client.stub.DescribeScene(DescribeSceneRequest(scene=what))).caption
        return caption

    return client.run(call())


async def _all(responses: AsyncIterator[T]) -> list[T]:
    return [each async for each in responses]


async def _each(requests: Iterable[T]) -> AsyncIterator[T]:
    for request in requests:
        yield request


def test_one_scene_is_described(client: Client) -> None:
    caption = describe(client, scene(3, 4.5, media_end=MediaTime.of(6).to_proto()))
    assert (caption.stream_id, caption.id, caption.model, caption.revision) == ("s", "scene-3000", "tiny", 1)
    assert caption.text
    assert [MediaTime.from_proto(each) for each in (caption.media_start, caption.media_end)] == [MediaTime.of(3), MediaTime.of(6)]
    assert [each.id for each in caption.keyframes] == ["k3", "k4.5"]
    assert not any(each.jpeg for each in caption.keyframes)
    assert caption.making.model_revision


def test_a_call_may_want_an_adapter(client: Client) -> None:
    plain, adapted = describe(client, scene(3, 4.5)), describe(client, scene(3, 4.5, style=CaptionStyle(adapter="shop")))
    assert (plain.making.adapter, adapted.making.adapter) == ("", "shop")
    assert adapted.text != plain.text
    assert describe(client, scene(3, 4.5)) == plain
    wanted = scene(3, style=CaptionStyle(adapter="shoe"))
    code, reason, told = client.refused(client.stub.DescribeScene(DescribeSceneRequest(scene=wanted)))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
    assert told == "stream s: the captioner tiny has no adapter 'shoe'; there are shop"


def test_keyframes_may_come_in_any_order(client: Client) -> None:
    late = scene(4.5, 3, 4)
    for keyframe, opened in zip(late.keyframes, ("b", "a", "a"), strict=True):
        keyframe.scene_id = opened
    caption = describe(client, late)
    assert caption.id == "a", "the scene of the first keyframe in time"
    assert [each.id for each in caption.keyframes] == ["k3", "k4", "k4.5"]
    assert caption.text == describe(client, scene(3, 4, 4.5)).text


def test_a_style_and_what_came_before_change_the_words(client: Client) -> None:
    plain = describe(client, scene(3))
    assert describe(client, scene(3)).text == plain.text
    assert describe(client, scene(3, style=CaptionStyle(voice="calm"))).text != plain.text
    assert describe(client, scene(3, before=["A man came in."])).text != plain.text


def test_a_sentence_is_told_while_it_is_written(client: Client) -> None:
    told = client.run(_all(client.stub.TellScene(TellSceneRequest(scene=scene(3, 4)))))
    *parts, last = told
    assert parts
    assert all(part.WhichOneof("response") == "text" for part in parts)
    assert last.caption == describe(client, scene(3, 4))


def test_leaving_a_telling_call_frees_the_model(client: Client) -> None:
    async def leave() -> None:
        call = client.stub.TellScene(TellSceneRequest(scene=scene(3, 4, 5)))
        await call.read()
        call.cancel()

    client.run(leave())
    assert describe(client, scene(7)).text


@pytest.mark.parametrize(
    ("what", "match"),
    [
        (SceneToDescribe(stream_id="s"), "1 to 200 keyframes"),
        (SceneToDescribe(stream_id="s", keyframes=[Keyframe(id="a")]), "each with its picture"),
        (SceneToDescribe(stream_id="s", keyframes=[Keyframe(jpeg=b"x")] * 201), "1 to 200 keyframes"),
        (SceneToDescribe(keyframes=[Keyframe(jpeg=b"x")]), "must name its stream"),
        (scene(1, before=["x"] * 9), "at most 8"),
        (scene(1, before=["x", "x" * 2_001]), "2,001 characters"),
        (scene(1, style=CaptionStyle(language="Write a poem.")), "no BCP 47 language"),
        (scene(1, style=CaptionStyle(forbidden=["x" * 101])), "at most 100 characters"),
        (scene(1, style=CaptionStyle(words=9_999)), "1 to 400 words"),
    ],
)
def test_a_scene_that_breaks_a_rule_is_refused(client: Client, what: SceneToDescribe, match: str) -> None:
    code, reason, details = client.refused(_describe(client, what))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
    assert match in details


async def _describe(client: Client, what: SceneToDescribe) -> object:
    return await client.stub.DescribeScene(DescribeSceneRequest(scene=what))


def test_a_broken_picture_is_named(client: Client) -> None:
    what = SceneToDescribe(stream_id="s", keyframes=[Keyframe(jpeg=b"no picture", media_time=MediaTime.of(5).to_proto())])
    _, reason, details = client.refused(_describe(client, what))
    assert reason == "MEDIA_UNDECODABLE"
    assert "keyframe at 0:05" in details


def test_closing_lets_the_models_thread_go(client: Client, tmp_path: Path) -> None:
    checkpoint, before = tiny_vlm.save(tmp_path / "tiny"), set(threading.enumerate())

    async def opened_and_closed() -> tuple[Parts, threading.Thread]:
        async with AsyncExitStack() as stack:
            stub, parts = await serving(checkpoint, stack)
            await stub.DescribeScene(DescribeSceneRequest(scene=scene(3)))
            (working,) = [each for each in set(threading.enumerate()) - before if each.name.startswith("caption-vlm")]
        return parts, working

    parts, working = client.run(opened_and_closed())
    working.join(60)
    assert not working.is_alive()
    assert parts.faces, "it is still held, so that the thread ended for no other reason"


# Video in one call.


def _config(**fields: Any) -> CaptionVideoRequest:
    return CaptionVideoRequest(config=CaptionVideoConfig(stream_id="v", **fields))


def _bytes(path: Path, *, size: int = 40_000, until: int | None = None) -> list[CaptionVideoRequest]:
    whole = path.read_bytes()[:until]
    return [CaptionVideoRequest(video=whole[start : start + size]) for start in range(0, len(whole), size)]


def _chunks(path: Path) -> list[MediaChunk]:
    return list(chunks(Sound(open_source(str(path)), "clip", "video"), "v"))


def video(client: Client, *requests: CaptionVideoRequest) -> tuple[list[Keyframe], list[SceneCaption]]:
    told = client.run(_all(client.stub.CaptionVideo(_each(requests))))
    keyframes = [each.keyframe for each in told if each.HasField("keyframe")]
    return keyframes, [each.caption for each in told if each.HasField("caption")]


def test_a_file_and_its_packets_give_the_same_scenes(client: Client, clip: Path) -> None:
    keyframes, captions = video(client, _config(keyframes=True), *_bytes(clip))
    assert len(captions) >= 2
    assert all(caption.text and caption.stream_id == "v" for caption in captions)
    assert {each.id for caption in captions for each in caption.keyframes} <= {each.id for each in keyframes}
    assert all(each.jpeg for each in keyframes)
    nothing, same = video(client, _config(), *(CaptionVideoRequest(chunk=chunk) for chunk in _chunks(clip)))
    assert not nothing
    assert [each.text for each in same] == [each.text for each in captions]


def test_a_file_that_is_cut_off_is_described_as_far_as_it_goes(client: Client, clip: Path) -> None:
    _, whole = video(client, _config(), *_bytes(clip))
    _, part = video(client, _config(), *_bytes(clip, until=clip.stat().st_size * 3 // 4))
    assert part[0] == whole[0]
    assert MediaTime.from_proto(part[-1].media_end) < MediaTime.from_proto(whole[-1].media_end)


@pytest.mark.parametrize(
    ("requests", "reason", "match"),
    [
        ([], "REQUEST_INVALID", "must be a config"),
        ([_config(style=CaptionStyle(words=-1))], "REQUEST_INVALID", "words"),
        ([_config(), _config()], "REQUEST_INVALID", "only chunk may follow"),
        ([_config(), CaptionVideoRequest(video=b"x" * 2_000)], "SOURCE_INVALID", "is none of"),
        (
            [_config(), CaptionVideoRequest(video=b"x" * 2_000), CaptionVideoRequest(chunk=MediaChunk())],
            "REQUEST_INVALID",
            "chunk where only",
        ),
    ],
)
def test_what_is_no_video_is_refused(client: Client, requests: list[CaptionVideoRequest], reason: str, match: str) -> None:
    _, said, details = client.refused(_all(client.stub.CaptionVideo(_each(requests))))
    assert said == reason
    assert match in details
