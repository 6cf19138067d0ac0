"""Keyframes that show nothing new are kept from the captioner, and it is told how much that spares."""

import asyncio
import io
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import REGISTRY
from watchword.v1 import scene_pb2

from pipeline.caption.model import Description, SceneView, Shot, aclose, telling
from pipeline.caption.second_look import SecondLook, load_features
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit

CHANGE, TEXT = scene_pb2.KEYFRAME_REASON_CHANGE, scene_pb2.KEYFRAME_REASON_TEXT


class Reciter:
    """Describes a scene by the times and sizes of its pictures."""

    name = "reciter"

    async def describe(self, scene: SceneView) -> Description:
        return Description(
            " ".join(f"{shot.time.seconds:g}:{Image.open(io.BytesIO(shot.jpeg)).size[0]}" for shot in scene.shots),
        )


class Teller(Reciter):
    """Tells how many pictures it is shown before it describes them, and says that it passed the first over."""

    async def describe(self, scene: SceneView) -> Description:
        return replace(await super().describe(scene), used=tuple(range(1, len(scene.shots))))

    async def tell(self, scene: SceneView) -> AsyncGenerator[str | Description, None]:
        yield f"{len(scene.shots)} pictures"
        yield await self.describe(scene)


class Holder(Reciter):
    """Holds on to something."""

    held = True

    async def aclose(self) -> None:
        self.held = False


class Script:
    """Features that lie at these angles, one a picture, in degrees."""

    def __init__(self, *degrees: float) -> None:
        self._degrees = degrees

    def features(self, pictures: Sequence[bytes]) -> NDArray[np.float32]:
        assert len(pictures) == len(self._degrees)
        angles = np.radians(self._degrees)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def told(degrees: Sequence[float], written: int | None = None) -> str:
    shown = scene(*[photo(number) for number in range(len(degrees))], written=written)
    return asyncio.run(SecondLook(Reciter(), Script(*degrees)).describe(shown)).text


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def photo(seed: int, *, noise: float = 0) -> NDArray[np.uint8]:
    """Something like a photograph, or the same a moment later."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)).resize((448, 252), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(small) + np.random.default_rng(99).normal(0, noise, (252, 448, 3)), 0, 255).astype(np.uint8)


def scene(*pictures: NDArray[np.uint8], written: int | None = None) -> SceneView:
    shots = tuple(
        Shot(MediaTime.of(number), TEXT if number == written else CHANGE, 0.5, 0.1, jpeg(each)) for number, each in enumerate(pictures)
    )
    return SceneView(start=MediaTime.of(0), end=MediaTime.of(len(pictures)), shots=shots)


def spared() -> float:
    return REGISTRY.get_sample_value("watchword_keyframe_tokens_saved_total") or 0.0


def test_what_shows_the_same_is_left_out_and_counted() -> None:
    before = spared()
    assert told([0, 3, 60]) == "0:448 2:448"
    assert spared() - before == 16 * 9


def test_what_the_captioner_tells_is_passed_on() -> None:
    shown = scene(*[photo(number) for number in range(4)])
    looking = SecondLook(Teller(), Script(0, 3, 60, 120))

    async def all_of() -> list[str | Description]:
        return [part async for part in telling(looking, shown)]

    sentence, description = asyncio.run(all_of())
    assert sentence == "3 pictures"
    assert isinstance(description, Description)
    assert description.used == (2, 3), "by the numbers of the whole scene"
    assert description == asyncio.run(looking.describe(shown))


def test_a_captioner_that_tells_nothing_still_describes() -> None:
    looking, shown = SecondLook(Reciter(), Script(0, 3)), scene(photo(1), photo(2))

    async def all_of() -> list[str | Description]:
        return [part async for part in telling(looking, shown)]

    assert asyncio.run(all_of()) == [asyncio.run(looking.describe(shown))]


def test_the_captioner_is_closed_with_it() -> None:
    holder = Holder()
    asyncio.run(aclose(SecondLook(holder, Script())))
    assert not holder.held
    asyncio.run(aclose(SecondLook(Reciter(), Script())))


def test_new_writing_is_never_left_out() -> None:
    assert told([0, 3, 4], written=2) == "0:448 2:448"


def test_what_is_like_its_neighbour_is_given_in_less_detail() -> None:
    before = spared()
    assert told([0, 15, 60]) == "0:448 1:224 2:448"
    assert spared() - before == 16 * 9 * 3 / 4


def test_of_a_scene_of_one_picture_it_is_shown() -> None:
    assert told([0]) == "0:448"


def test_the_shipped_classifier_takes_a_moment_later_for_the_same() -> None:
    captioner = SecondLook(Reciter(), load_features())
    assert captioner.name == "reciter"
    described = asyncio.run(captioner.describe(scene(photo(1), photo(1, noise=2), photo(2), photo(3))))
    assert [each.partition(":")[0] for each in described.text.split()] == ["0", "2", "3"]
