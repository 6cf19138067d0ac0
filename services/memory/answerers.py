"""The answerers that are set up: quoting always, and models where the settings name their servers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.caption.model import load as load_captioner
from pipeline.errors import ModelMissing
from pipeline.memory.store import Picture, SceneStore, Span
from pipeline.models import locate
from pipeline.qa.answer import Answerer
from pipeline.qa.composed import ComposedAnswerer, LookAgain
from pipeline.qa.extractive import ExtractiveAnswerer, Reread
from pipeline.qa.model import Embedder
from pipeline.qa.recordings import Judge, Recordings
from pipeline.qa.reranker import Reranker
from pipeline.qa.reranker import load as load_e5
from pipeline.qa.rereading import Reads, Rereading
from pipeline.qa.seeing import SeeingAnswerer
from pipeline.qa.teller import ChatTeller
from pipeline.qa.visual import PictureEmbedder, Visual, load_label_looks
from pipeline.qa.voice import read_voices
from pipeline.served import Server, address
from services.settings import Settings


def make_answerers(
    settings: Settings,
    store: SceneStore,
    embedder: Embedder,
    *,
    look: LookAgain | None = None,
    looks: PictureEmbedder | None = None,
    reranker: Reranker | None = None,
    reread: Reread | None = None,
) -> Mapping[str, Answerer]:
    """By name, the one that is asked where none is named first.

    Without `look` those that see are shown the memory's thumbnails alone; without `looks` pictures are found by their descriptions alone;
    without `reranker` quotes are chosen by comparing alone; without `reread` what the screen read at a time is what keyframes showed.

    Raises `SettingInvalid` for what cannot be set up, and `ModelMissing` or `ModelMismatch` for a checkpoint that cannot be loaded.
    """
    voices = read_voices(settings.voices) if settings.voices is not None else ()

    async def thumbnails(stream_id: str, span: Span, most: int) -> Sequence[Picture]:
        return await store.pictures(stream_id, span=span, limit=most)

    look = look or thumbnails
    visual = Visual(store, looks) if looks is not None else None
    quoting = ExtractiveAnswerer(store, embedder, visual=visual, reranker=reranker, reread=reread)
    answerers: dict[str, Answerer] = {"extractive": quoting}
    if settings.chat:
        teller = _teller(settings.chat, settings.answer_key, "chat model")
        answerers["chat"] = ComposedAnswerer("chat", store, embedder, teller, voices=voices, reranker=reranker)
    if settings.vlm and "://" not in settings.vlm:
        captioner = load_captioner("transformers", directory=Path(settings.vlm), max_new_tokens=settings.caption_tokens)
        answerers["vlm"] = SeeingAnswerer("vlm", store, embedder, captioner, look, visual=visual)
    elif settings.vlm:
        teller = _teller(settings.vlm, settings.answer_key, "vision model", sees=True)
        answerers["vlm"] = ComposedAnswerer("vlm", store, embedder, teller, voices=voices, look=look, reranker=reranker)
    return {settings.answerer: answerers[settings.answerer], **answerers}


def rereading(store: SceneStore, recordings: Recordings, judge: Judge) -> Rereading:
    """What reads pictures of recordings, with the reader that descriptions have too."""

    def load() -> Reads:
        from pipeline.caption.tags import Reader

        return Reader(locate("ppocr-v6"))

    return Rereading(store, recordings, judge, load)


def load_looks(settings: Settings, embedder: Embedder) -> PictureEmbedder | None:
    """What finds keyframes by what they look like; raises `ModelMissing` or `ModelMismatch`."""
    if settings.visual == "none":
        return None
    if settings.visual == "labels":
        return load_label_looks(embedder)
    from pipeline.qa.clip import ClipLooks

    return ClipLooks(Path(settings.visual))


def load_reranker(settings: Settings) -> Reranker | None:
    """What reranks before a quote is told; raises `ModelMissing` where it is named and not there, and `ModelMismatch`."""
    if settings.reranker == "none":
        return None
    try:
        return load_e5()
    except ModelMissing:
        if settings.reranker == "auto":
            return None
        raise


def _teller(where: str, key: str, what: str, *, sees: bool = False) -> ChatTeller:
    url, name = address(where)
    return ChatTeller(Server(url, key=key, what=what), name, sees=sees)
