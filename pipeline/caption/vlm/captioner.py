"""The captioner for a checkpoint directory: scenes of many streams are brought to one worker, which describes them together."""

import asyncio
import math
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from pipeline.caption import asking
from pipeline.caption.asking import Say, Written
from pipeline.caption.model import Description, SceneView, Shot, require_adapter
from pipeline.caption.style import PLAIN, Style
from pipeline.caption.vlm import adapters as adapter_files
from pipeline.caption.vlm.checkpoint import BITS, Precision, open_checkpoint, revision_of
from pipeline.caption.vlm.families import Family
from pipeline.caption.vlm.intake import Intake
from pipeline.caption.vlm.lowrank import Adapter
from pipeline.caption.vlm.worker import Ahead, Job, Limits, Worker
from pipeline.errors import WatchwordError
from pipeline.loops import tell
from pipeline.telemetry import SCENES_ADAPTED

log = structlog.get_logger(__name__)

STRUCTURED_TOKENS = 512
"""What a structured reply may take, if that is more than a sentence may."""
AHEAD = 32
"""Keyframes of open scenes that may wait to be encoded. It is only in advance, so what is more is left."""


class VlmCaptioner:
    """Describes scenes by greedy decoding; the temporal positions are the keyframes' own times."""

    def __init__(
        self,
        name: str,
        family: Family,
        tokenizer: Any,
        *,
        max_new_tokens: int = 96,
        revision: str = "",
        limits: Limits | None = None,
        adapters: Iterable[Adapter] = (),
    ) -> None:
        """`max_new_tokens` is for a sentence; `revision` is what descriptions say of the version."""
        self.name = name
        self.worker = Worker(name, family, tokenizer, limits or Limits.of(family.network.device.type), adapters)
        self._tokenizer = tokenizer
        self._max_new_tokens = max_new_tokens
        self._revision = revision
        self._ahead: set[asyncio.Task[None]] = set()
        self._intake: Intake[Job, Ahead] = Intake(self.worker.serve, name="caption-vlm")

    @property
    def adapters(self) -> Collection[str]:
        """See `Adaptable`."""
        return self.worker.adapters.keys()

    async def describe(self, scene: SceneView) -> Description:
        """Describe a scene.

        Raises `RequestInvalid` for an adapter that is not there, `MediaUndecodable` for a picture that cannot be read, and `Overloaded`
        where memory does not suffice. A scene joins those that are being described and is answered as soon as it is done. Cancelling frees
        its seat at its next token.
        """
        return await asking.describe(scene, self._ask)

    def tell(self, scene: SceneView) -> AsyncGenerator[str | Description, None]:
        """See `Telling`."""
        return asking.tell(scene, self._ask)

    def look_ahead(self, shot: Shot, style: Style = PLAIN) -> None:
        """See `Attentive`."""
        ahead = Ahead(shot, style.adapter)
        if len(self._ahead) < AHEAD and not self.worker.knows(ahead):
            task = asyncio.get_running_loop().create_task(self._encode_ahead(ahead))
            self._ahead.add(task)
            task.add_done_callback(self._ahead.discard)

    async def aclose(self) -> None:
        """See `Closing`; what waits is still described."""
        self._intake.close()

    async def _encode_ahead(self, ahead: Ahead) -> None:
        try:
            await self._intake.submit_picture(ahead)
        except (WatchwordError, RuntimeError) as error:
            # Whoever describes the scene meets the same failure, and says it of the scene.
            log.debug("not_encoded_ahead", cause=str(error))

    async def _ask(self, scene: SceneView, say: Say | None) -> Written:
        require_adapter(self, scene.style)
        loop = asyncio.get_running_loop()

        def told(tokens: list[int]) -> None:
            if say is not None:
                written = tokens.copy()
                tell(loop, lambda: say(self._text(written)))

        most = max(self._max_new_tokens, STRUCTURED_TOKENS) if scene.style.structured else self._max_new_tokens
        job = Job(scene, most, told)
        try:
            await self._intake.submit(job)
        finally:
            job.cancelled = True
        left_out = len(scene.shots) - len(job.used)
        if job.adapter is not None:
            SCENES_ADAPTED.labels(job.adapter.name).inc()
        remarks = [f"{left_out} of {len(scene.shots)} keyframes were not looked at"] if left_out else []
        if job.repeated:
            remarks.append("the model repeated itself and was stopped")
        return Written(
            self._text(job.tokens[: len(job.tokens) - job.repeated]),
            used=job.used if left_out else None,
            confidence=round(math.exp(job.certainty / len(job.tokens)), 3) if job.tokens else None,
            cut_off=not job.stopped,
            remark="; ".join(remarks),
            revision=f"{self._revision}+{job.adapter.revision}" if job.adapter is not None else self._revision,
            adapter=scene.style.adapter,
        )

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))


def load_vlm(
    directory: Path,
    *,
    max_new_tokens: int = 96,
    precision: Precision = "auto",
    limits: Limits | None = None,
    adapters: Mapping[str, Path] | None = None,
) -> VlmCaptioner:
    """Load a checkpoint from a directory; nothing is fetched, no code of the checkpoint runs, only safetensors are read.

    `precision` is how weights are held: by default bfloat16 where the device computes in it, else float32; "int8" and "int4" are
    made of these when they are loaded. `adapters` are the directories of the adapters by which scenes may be described, by name. Raises
    `ModelMissing` where the directory or its config or weights are not there, and `ModelMismatch` where it holds another architecture
    or cannot be loaded; of adapters likewise.
    """
    family, tokenizer = open_checkpoint(directory, precision=precision)
    revision = revision_of(directory)
    told = f"{revision}-{precision}" if precision in BITS else revision
    loaded = [adapter_files.read(name, where, family.network, base=revision) for name, where in (adapters or {}).items()]
    return VlmCaptioner(directory.name, family, tokenizer, max_new_tokens=max_new_tokens, revision=told, limits=limits, adapters=loaded)
