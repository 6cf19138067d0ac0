"""What transcribe stages are made of: a speech model and a speech detector, shared by all streams."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import SettingInvalid
from pipeline.stage import Stage
from pipeline.transcribe import model, vad
from pipeline.transcribe.model import Transcriber, check_language
from pipeline.transcribe.options import AUTO, Options
from pipeline.transcribe.stage import Transcribe
from pipeline.transcribe.vad import SpeechDetector


@dataclass(frozen=True)
class Stages:
    """Makes the stage of a stream from what it is asked to be."""

    transcriber: Transcriber
    detector: SpeechDetector

    @classmethod
    async def load(cls, name: str) -> "Stages":
        """Load a model of the catalog, or of a directory where the name has a "/".

        Raises `SettingInvalid`, `ModelMissing` or `ModelMismatch`.
        """
        directory = Path(name) if "/" in name else None
        if directory is not None and not directory.is_dir():
            raise SettingInvalid(f"the model {name} is no directory; a name of the catalog has no '/'")
        load = model.load if directory is None else lambda name: model.load(name, directory=directory)
        transcriber = await asyncio.to_thread(load, name if directory is None else directory.resolve().name)
        try:
            return cls(transcriber, await asyncio.to_thread(vad.load_detector))
        except BaseException:
            transcriber.close()
            raise

    def require(self, options: Options) -> None:
        """Raise `SettingInvalid` for a language that the model does not know, or a translation that it cannot make."""
        name, languages = self.transcriber.name, self.transcriber.languages
        if options.language != AUTO:
            check_language(name, options.language, languages)
        if options.translate and len(languages) == 1:
            raise SettingInvalid(f"translation: {name} knows one language only; set a multilingual Whisper model to translate")

    def make(self, stream_id: str, options: Options) -> Stage:
        """A stage for one stream."""
        # TODO(options): the stage is about to take them.
        taken: dict[str, Any] = {"options": options} if "options" in Transcribe.__init__.__annotations__ else {}
        return Transcribe(stream_id, self.transcriber, self.detector, **taken)

    def close(self) -> None:
        """Let go of the threads that compute."""
        self.transcriber.close()
        self.detector.close()
