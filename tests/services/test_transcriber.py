"""What the transcriber makes of its settings: what each stream is asked, and what no model here can do."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.bus.memory import MemoryBus
from pipeline.errors import SettingInvalid
from pipeline.transcribe import model, vad
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
    async def load(name: str, *, api_key: str) -> Listening:
        assert (name, api_key) == (settings.model, settings.model_key)
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


def test_a_model_is_of_the_catalog_of_a_directory_or_of_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def load(name: str, **more: Any) -> Any:
        asked.append((name, more))
        return SimpleNamespace()

    monkeypatch.setattr(model, "load", load)
    monkeypatch.setattr(vad, "load_detector", lambda: SimpleNamespace())
    for name in ("whisper-tiny.en", f"{tmp_path}/", "http://speech:8000/v1#large"):
        asyncio.run(Stages.load(name, api_key="hunter2"))
    assert asked == [
        ("whisper-tiny.en", {}),
        (tmp_path.name, {"directory": tmp_path}),
        ("large", {"url": "http://speech:8000/v1", "api_key": "hunter2"}),
    ]


def test_a_server_must_be_told_which_model() -> None:
    with pytest.raises(SettingInvalid, match="#NAME") as refused:
        asyncio.run(Stages.load("http://user:hunter2@speech:8000/v1"))
    assert "hunter2" not in str(refused.value)


def test_a_directory_that_is_none_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="no/such is no directory"):
        asyncio.run(Stages.load("no/such"))
