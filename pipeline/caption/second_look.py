"""A captioner around another, which is shown fewer and smaller pictures where a cheaper model found nothing new in them.

See `pipeline.sample.detail` for the rule. What is left out is left out before the captioner is asked; less detail means half
the size each way, which is a quarter of the tokens of a model that takes pictures as they are. Counted in
`watchword_keyframe_details` and `watchword_keyframe_tokens_saved`.
"""

import asyncio
import io
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from watchword.v1.scene_pb2 import KEYFRAME_REASON_TEXT

from pipeline.caption.model import Adaptable, Captioner, Description, SceneView, Shot, aclose, telling
from pipeline.caption.pictures import decode
from pipeline.caption.tags import Classifier
from pipeline.sample.detail import Features, Level, Thresholds, second_look
from pipeline.telemetry import KEYFRAME_DETAILS, KEYFRAME_TOKENS_SAVED

THRESHOLDS = Thresholds(same=0.985, alike=0.95)
"""Cosines of EfficientNet-Lite0's pooled features, which are nearer to each other than DINOv2's: a still picture has 0.99 and more
from one keyframe to the next, a table from which a bottle was taken 0.95 to 0.97, other moments of a scene 0.4 to 0.95."""
TOKEN_SIDE = 28
"""Pixels of a token's side in the Qwen2.5-VL family (two patches of 14), by which tokens are reckoned."""
_QUALITY = 85


class ClassifierFeatures:
    """The pooled features of the classifier that tags are made with: a fiftieth of a second a picture."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def features(self, pictures: Sequence[bytes]) -> NDArray[np.float32]:
        """See `Features.features`; one token a picture. Raises `MediaUndecodable`."""
        return np.stack([self._classifier.look_at(decode(jpeg, what="keyframe")).features for jpeg in pictures])


class SecondLook:
    """Passes on to another captioner what is worth its while of each scene."""

    def __init__(self, captioner: Captioner, features: Features, *, thresholds: Thresholds = THRESHOLDS) -> None:
        self._captioner = captioner
        self._features = features
        self._thresholds = thresholds

    @property
    def name(self) -> str:
        """That of the captioner: it is what describes."""
        return self._captioner.name

    @property
    def adapters(self) -> Collection[str] | None:
        """See `Adaptable`: those of the captioner."""
        return self._captioner.adapters if isinstance(self._captioner, Adaptable) else ()

    async def describe(self, scene: SceneView) -> Description:
        """See `Captioner.describe`."""
        thinned, kept = await asyncio.to_thread(self._thinned, scene)
        return _renumbered(await self._captioner.describe(thinned), kept, of=len(scene.shots))

    async def tell(self, scene: SceneView) -> AsyncGenerator[str | Description, None]:
        """See `Telling`; a captioner that tells nothing before its description still describes.

        `Attentive` is not passed on: which pictures are shown, and how large, is known only when the scene is complete.
        """
        thinned, kept = await asyncio.to_thread(self._thinned, scene)
        async with aclosing(telling(self._captioner, thinned)) as told:
            async for each in told:
                yield _renumbered(each, kept, of=len(scene.shots)) if isinstance(each, Description) else each

    async def aclose(self) -> None:
        """See `Closing`: of the captioner."""
        await aclose(self._captioner)

    def _thinned(self, scene: SceneView) -> tuple[SceneView, tuple[int, ...]]:
        """The scene with what is kept of it, and the numbers of the shots that are kept."""
        needed = {number for number, shot in enumerate(scene.shots) if shot.reason == KEYFRAME_REASON_TEXT}
        full = _tokens(scene.shots[0])
        detail = second_look(
            self._features.features([shot.jpeg for shot in scene.shots]),
            needed=needed,
            tokens_full=full,
            tokens_pooled=max(full // 4, 1),
            thresholds=self._thresholds,
        )
        for level in detail.levels:
            KEYFRAME_DETAILS.labels(level.value).inc()
        KEYFRAME_TOKENS_SAVED.inc(detail.tokens_of_all - detail.tokens)
        kept = tuple(number for number, level in enumerate(detail.levels) if level is not Level.DROPPED)
        return replace(scene, shots=tuple(_at(detail.levels[number], scene.shots[number]) for number in kept)), kept


def _tokens(shot: Shot) -> int:
    picture = decode(shot.jpeg, what=f"keyframe at {shot.time.clock()}")
    return max(round(picture.width / TOKEN_SIDE) * round(picture.height / TOKEN_SIDE), 1)


def _at(level: Level, shot: Shot) -> Shot:
    """The keyframe with as much detail as it is given."""
    if level is Level.FULL:
        return shot
    picture = decode(shot.jpeg, what=f"keyframe at {shot.time.clock()}")
    file = io.BytesIO()
    picture.resize((max(picture.width // 2, 1), max(picture.height // 2, 1))).save(file, "JPEG", quality=_QUALITY)
    return replace(shot, jpeg=file.getvalue())


def _renumbered(description: Description, kept: tuple[int, ...], *, of: int) -> Description:
    """The description of what was kept as one of the whole scene, which has so many shots."""
    used = kept if description.used is None else tuple(kept[number] for number in description.used)
    return replace(description, used=used if len(used) < of else description.used)


def load_features() -> ClassifierFeatures:
    """Features of the classifier in the catalog, `efficientnet-lite0`; raises `ModelMissing` or `ModelMismatch`."""
    import torch

    from pipeline.models import locate

    torch.set_num_threads(1)
    (weights,) = locate("efficientnet-lite0").glob("efficientnet-lite0-*.pth")
    return ClassifierFeatures(Classifier(weights))
