"""What the captioner is made of."""

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from watchword.v1 import caption_service_pb2_grpc

from pipeline.bus import Bus
from pipeline.caption import model
from pipeline.caption.refine import Refine
from pipeline.caption.second_look import SecondLook, load_features
from pipeline.caption.stage import Caption
from pipeline.caption.style import Style
from pipeline.media.decoders.choose import choose, factory, say
from pipeline.media.decoders.port import DecoderFactory
from pipeline.sample.stage import Sample
from pipeline.served import address
from pipeline.stage import Stage, StageFactory
from services.captioner.servicer import CaptionServicer
from services.captioner.styles import style_of
from services.serve import Parts, face_of
from services.settings import Settings

EXTEND = 4
"""How often a caption is extended where a model describes: two and a half minutes of a still camera."""


def _load(adapter: str, where: str, key: str, settings: Settings, adapters: Mapping[str, Path]) -> model.Captioner:
    url, name = address(where) if "://" in where else ("", "")
    directory = Path(where) if where and not url else None
    return model.load(
        adapter,
        directory=directory,
        url=url,
        model=name,
        key=key,
        max_new_tokens=settings.caption_tokens,
        adapters=adapters,
        precision=settings.caption_precision,
        thin=settings.caption_thin,
        picture_tokens=settings.caption_picture_tokens,
    )


async def build(settings: Settings, bus: Bus) -> Parts:
    """The captioner that the settings name, shared by all streams, and the stronger one, if there is one."""
    captioner: model.Captioner = await asyncio.to_thread(
        _load, settings.captioner, settings.captioner_model, settings.captioner_key, settings, dict(settings.adapters)
    )
    if settings.second_look:
        captioner = SecondLook(captioner, await asyncio.to_thread(load_features))
    refiner = None
    if settings.refiner:
        refiner = await asyncio.to_thread(_load, settings.refiner, settings.refiner_model, settings.refiner_key, settings, {})
    extend = settings.caption_extend
    if extend is None:
        extend = 0 if settings.captioner == "tags" else EXTEND

    def style(stream_id: str) -> Style:
        return style_of(stream_id, settings.caption_styles)

    def make_stage(stream_id: str, style: Style) -> Stage:
        return Caption(stream_id, captioner, style=style, extend=extend, context=settings.caption_context)

    def make_caption(stream_id: str) -> Stage:
        return make_stage(stream_id, style(stream_id))

    def make_refine(stream_id: str) -> Stage:
        # Adapters are made for one base, and that is the first captioner's.
        plain = replace(style(stream_id), adapter="")
        return Refine(stream_id, refiner, per_minute=settings.refiner_per_minute, style=plain, extend=extend)

    servicer = CaptionServicer(captioner, style, make_stage, _sampler(settings))
    face = face_of(caption_service_pb2_grpc, "CaptionService", servicer)

    async def close() -> None:
        for each in (captioner, refiner):
            await model.aclose(each)

    return Parts([face], {"caption": make_caption, "refine": make_refine}, close=close)


def _sampler(settings: Settings) -> StageFactory:
    """Makes sampling stages for calls that send video; a decoder is looked for when the first comes."""

    @functools.cache
    def decoder() -> DecoderFactory:
        choice = choose(settings.decoder)
        say(choice)
        return factory(choice, apart=settings.decoder_apart is not False)

    return lambda stream_id: Sample(stream_id, options=settings.sampling, open_decoder=decoder())
