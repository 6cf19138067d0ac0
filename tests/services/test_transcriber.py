"""What the transcriber makes of its settings: what each stream is asked, and what no model here can do."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.bus.memory import MemoryBus
from pipeline.errors import SettingInvalid
from pipeline.transcribe.options import Options
from services.settings import Settings
from services.speech import StreamRule
from services.transcriber import main
from services.transcriber.stages import Stages

pytestmark = pytest.mark.unit


class Listening:
    """Stages that only note what they are made with."""

    def __init__(self, *languages: str) -> None:
        self.made: list[tuple[str, Options]] = []
        self.closed = False
        self.stages = Stages(SimpleNamespace(name="a-model", languages=frozenset(languages)), SimpleNamespace())  # type: ignore[arg-type]

    def make(self, stream_id: str, options: Options) -> Any:
        self.made.append((stream_id, options))

    def require(self, options: Options) -> None:
        self.stages.require(options)

    def close(self) -> None:
        self.closed = True


def built(settings: Settings, stages: Listening, monkeypatch: pytest.MonkeyPatch) -> Any:
    async def load(name: str) -> Listening:
        assert name == settings.model
        return stages

    monkeypatch.setattr(Stages, "load", load)
    return asyncio.run(main.build(settings, MemoryBus()))


def test_each_stream_is_asked_what_its_rule_says(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Listening("en", "de", "fr")
    settings = Settings(language="fr", streams=(StreamRule("radio-*", language="de", translate=True, glossary=("Bundestag",)),))
    parts = built(settings, stages, monkeypatch)
    for stream_id in ("radio-1", "camera"):
        parts.stages["transcribe"](stream_id)
    assert stages.made == [
        ("radio-1", Options(language="de", translate=True, glossary=("Bundestag",))),
        ("camera", Options(language="fr")),
    ]


def test_what_the_model_cannot_do_is_told_together_and_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Listening("en")
    rules = (StreamRule("radio-*", language="de"), StreamRule("tv", language="en"), StreamRule("*", translate=True))
    with pytest.raises(SettingInvalid) as refused:
        built(Settings(language="fr", streams=rules), stages, monkeypatch)
    told = str(refused.value)
    for cause in ("WATCHWORD_LANGUAGE", '"fr"', '"radio-*"', '"de"', '"*"', "a-model"):
        assert cause in told
    assert '"tv"' not in told
    assert stages.closed


def test_a_model_of_one_language_translates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingInvalid, match=r"WATCHWORD_TRANSLATE.*multilingual"):
        built(Settings(translate=True), Listening("en"), monkeypatch)
    built(Settings(translate=True), Listening("en", "de"), monkeypatch)


def test_a_directory_that_is_none_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="no/such is no directory"):
        asyncio.run(Stages.load("no/such"))
