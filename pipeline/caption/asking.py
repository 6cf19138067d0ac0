"""Describing a scene by asking a model in words: its reply is understood, or it is asked once more for a sentence alone.

A greedy model that broke its JSON once would break it again, so the second question is the simpler one. What went wrong is said in the
description's remark and counted; a scene of which no sentence came is described by nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace

from pipeline.caption.model import Action, Description, SceneView
from pipeline.caption.reply import Reply, ReplyBroken, so_far, understood
from pipeline.caption.style import PROMPT_VERSION
from pipeline.telemetry import CAPTION_REPLIES
from pipeline.timeline import MediaTime


@dataclass(frozen=True)
class Written:
    """What a model wrote about a scene."""

    text: str
    used: tuple[int, ...] | None = None
    """The numbers of the shots that it saw; `None` means all."""
    confidence: float | None = None
    """By the probabilities of its words; what it says itself counts more."""
    cut_off: bool = False
    """Whether it would have gone on."""
    remark: str = ""
    revision: str = ""
    """Which version of the model wrote it, where one is known."""
    adapter: str = ""
    """The adapter that was on in the model; empty for none."""


Say = Callable[[str], None]
"""Told all that was written so far, on the event loop."""
Ask = Callable[[SceneView, Say | None], Awaitable[Written]]
"""Asks a model about a scene in the scene's style."""


async def describe(scene: SceneView, ask: Ask, say: Say | None = None) -> Description:
    """The description that asking leads to; raises what `ask` raises."""
    written = await ask(scene, say)
    try:
        found = _description(scene, written)
    except ReplyBroken as broken:
        remark = f"the reply could not be used: {broken}"
        if not scene.style.structured:
            return _nothing(remark, written)
        plain = replace(scene, style=replace(scene.style, structured=False))
        try:
            found = _description(plain, await ask(plain, say))
        except ReplyBroken:
            return _nothing(f"{remark}; asked for a sentence alone, the model wrote none", written)
        CAPTION_REPLIES.labels("asked_again").inc()
        return replace(found, remark=f"{remark}; the model was asked for a sentence alone")
    CAPTION_REPLIES.labels("mended" if found.remark else "good").inc()
    return found


async def tell(scene: SceneView, ask: Ask) -> AsyncGenerator[str | Description, None]:
    """The sentence so far whenever it has grown, then the description; closing it early stops the asking."""
    latest = ""
    grown = asyncio.Event()

    def say(text: str) -> None:
        nonlocal latest
        latest = so_far(text)
        grown.set()

    task = asyncio.create_task(describe(scene, ask, say))
    task.add_done_callback(lambda _: grown.set())
    told = ""
    try:
        while not task.done():
            await grown.wait()
            grown.clear()
            if latest != told and not task.done():
                told = latest
                yield told
        yield await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _nothing(remark: str, written: Written) -> Description:
    CAPTION_REPLIES.labels("empty").inc()
    return Description("", used=written.used, revision=written.revision, adapter=written.adapter, remark=remark, prompt=PROMPT_VERSION)


def _description(scene: SceneView, written: Written) -> Description:
    shots = scene.shots if written.used is None else [scene.shots[number] for number in written.used]
    start, end = min(shot.time for shot in shots), scene.end
    length = max(end - start, MediaTime(0))
    reply = understood(written.text, scene.style, length_s=length.seconds)
    remarks = [written.remark, *reply.mended]
    return Description(
        f"{reply.sentence} …" if written.cut_off and not scene.style.structured and not reply.sentence.endswith("…") else reply.sentence,
        on_screen_text=reply.text,
        objects=reply.objects,
        detail=reply.detail,
        actions=_actions(reply, start),
        people=reply.people,
        camera=reply.camera,
        confidence=written.confidence if reply.confidence is None else reply.confidence,
        used=written.used,
        revision=written.revision,
        adapter=written.adapter,
        prompt=PROMPT_VERSION,
        remark="; ".join(remark for remark in remarks if remark),
    )


def _actions(reply: Reply, start: MediaTime) -> tuple[Action, ...]:
    told = [Action(act.what, start + MediaTime.of(act.start), start + MediaTime.of(act.end)) for act in reply.actions]
    return tuple(sorted(told, key=lambda action: (action.start.nanos, action.end.nanos)))
