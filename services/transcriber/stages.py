"""What transcribe stages are made of: a speech model and a speech detector, shared by all streams."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SettingInvalid
from pipeline.served import address
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
    async def load(cls, name: str, *, api_key: str = "") -> "Stages":
        """Load a model: of the catalog; of a directory, where the name has a "/"; or of a server, where it is URL#NAME.

        `api_key` is the one that the server wants. Raises `SettingInvalid`, `ModelMissing` or `ModelMismatch`.
        """
        transcriber = await asyncio.to_thread(_load, name, api_key)
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

    def make(self, stream_id: str, options: Options) -> Transcribe:
        """A stage for one stream."""
        return Transcribe(stream_id, self.transcriber, self.detector, options=options)

    def close(self) -> None:
        """Let go of the threads that compute."""
        self.transcriber.close()
        self.detector.close()


def _load(name: str, api_key: str) -> Transcriber:
    if "://" in name:
        url, served = address(name)
        if not served:
            raise SettingInvalid("the URL of a model must end with # and the name that its server knows it by, as in http://host/v1#NAME")
        return model.load(served, url=url, api_key=api_key)
    if "/" not in name:
        return model.load(name)
    directory = Path(name)
    if not directory.is_dir():
        raise SettingInvalid(f"the model {name} is no directory; a name of the catalog has no '/'")
    return model.load(directory.resolve().name, directory=directory)
