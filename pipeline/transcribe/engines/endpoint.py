"""Any server with OpenAI's audio API: `POST /audio/transcriptions` and `/audio/translations`, as many Whisper servers offer it."""

import io
import json
import math
import re
import threading
import wave
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.errors import ModelMismatch, ServiceUnavailable, SettingInvalid
from pipeline.served import FIRST_PAUSE_S, LONGEST_PAUSE_S, RETRYABLE, checked, seconds
from pipeline.timeline import MediaTime
from pipeline.transcribe.audio import Samples
from pipeline.transcribe.engines.languages import LANGUAGES
from pipeline.transcribe.engines.whisper import written_in
from pipeline.transcribe.model import LanguageGuess, Passage, Task, Threaded
from pipeline.transcribe.segmentation import RATE
from pipeline.transcribe.words import UNSPACED, HeardWord, Hypothesis

_LARGEST_ANSWER = 4 * 2**20
"""Bytes; half a minute of speech takes some 20 kB."""
_MARK = re.compile(r"[^\w\s]")


class OpenAiEndpoint(Threaded):
    """A speech model behind OpenAI's audio API, asked for "verbose_json" with word times.

    It has no field for known words, so `Passage.prefix`, and what the protocol has not either, `beam` and `least_window`, are
    ignored. A word's probability is the server's, else that of its segment, else 1. Where a server tells no word times, the
    words of a segment, or of the whole text, are spread evenly over its time by their letters.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        api_key: str = "",
        languages: frozenset[str] = frozenset(LANGUAGES.values()),
        timeout_s: float = 20.0,
        attempts: int = 3,
        together: int = 8,
    ) -> None:
        """Nothing is sent yet. `url` is the base, to which /audio/transcriptions is added, such as "http://speech:8000/v1".

        `model` is the server's name of the model, `languages` what it may be asked for (Whisper's, if not told). An attempt takes
        `timeout_s` seconds at most to connect, and between two signs of life; what a retry may help is tried `attempts` times, with
        pauses of at most 8 s. Up to `together` passages are sent at once. Raises `SettingInvalid` for something that is no URL.
        """
        import httpx2

        url = checked(url, what="speech endpoint")
        super().__init__(model, languages, threads=together)
        self._url, self._attempts = url, attempts
        self._client = httpx2.Client(
            timeout=timeout_s,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            limits=httpx2.Limits(max_connections=together),
        )
        self._closed = threading.Event()
        self._pause: Callable[[float], object] = self._closed.wait

    def close(self) -> None:
        """Let go of the threads and connections; what is being asked fails."""
        self._closed.set()
        super().close()
        self._client.close()

    def _transcribe(self, passage: Passage) -> Hypothesis:
        translated = passage.task is Task.TRANSLATE
        fields: dict[str, str | list[str]] = {"timestamp_granularities[]": ["word", "segment"]}
        if passage.leading:
            fields["prompt"] = passage.leading
        if not translated:
            fields["language"] = passage.language
        answer = self._ask("translations" if translated else "transcriptions", passage.samples, fields)
        try:
            return hypothesis(answer, passage)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelMismatch(f"{self._url} answers no transcription that is understood ({error!r})") from error

    def _identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        told = str(self._ask("transcriptions", samples, {}).get("language") or "").lower()
        language = LANGUAGES.get(told, told)
        if not language:
            raise ModelMismatch(f"{self._url} does not tell the language that it hears; set the language")
        return (LanguageGuess(language, 1.0),)

    def _ask(self, path: str, samples: Samples, fields: Mapping[str, str | list[str]]) -> Mapping[str, Any]:
        """The server's answer, after as many attempts as it takes and are allowed."""
        content = wav(samples)
        for attempt in range(1, self._attempts + 1):
            try:
                return self._attempt(path, content, fields)
            except _Again as again:
                if attempt == self._attempts or self._closed.is_set():
                    raise ServiceUnavailable(
                        f"{self._url}: {again}, in attempt {attempt}; is the server up and not too busy?"
                    ) from again.__cause__
                self._pause(min(LONGEST_PAUSE_S, again.after or FIRST_PAUSE_S * 2 ** (attempt - 1)))
        raise AssertionError("an attempt answers or raises")

    def _attempt(self, path: str, content: bytes, fields: Mapping[str, str | list[str]]) -> Mapping[str, Any]:
        import httpx2

        data = {"model": self.name, "response_format": "verbose_json", "temperature": "0", **fields}
        try:
            files = {"file": ("audio.wav", content, "audio/wav")}
            with self._client.stream("POST", f"{self._url}/audio/{path}", data=data, files=files) as response:
                body = self._body(response)
        except httpx2.TransportError as error:
            raise _Again(f"no answer ({type(error).__name__}: {error})") from error
        if response.status_code in RETRYABLE:
            raise _Again(f"status {response.status_code}", seconds(response.headers.get("Retry-After")))
        if response.status_code in (401, 403):
            raise SettingInvalid(f"{self._url}: the server refuses the key (status {response.status_code}); set another one")
        if not response.is_success:
            raise SettingInvalid(f"{self._url}: the server refuses what it is asked (status {response.status_code}): {_excerpt(body)}")
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise ModelMismatch(f"{self._url} answers no JSON: {_excerpt(body)}") from error
        if not isinstance(answer, dict):
            raise ModelMismatch(f"{self._url} answers no transcription: {_excerpt(body)}")
        return answer

    def _body(self, response: Any) -> bytes:
        body = bytearray()
        for part in response.iter_bytes():
            body += part
            if len(body) > _LARGEST_ANSWER:
                raise ModelMismatch(f"{self._url} answers more than {_LARGEST_ANSWER} bytes; is it a speech server?")
        return bytes(body)


class _Again(Exception):
    """An attempt failed in a way that the next one may not."""

    def __init__(self, what: str, after: float | None = None) -> None:
        super().__init__(what)
        self.after = after


def wav(samples: Samples) -> bytes:
    """A WAV file of 16-bit samples; what is beyond -1 and 1 is clipped."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, RATE, len(samples), "NONE", ""))
        writer.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
    return file.getvalue()


def hypothesis(answer: Mapping[str, Any], passage: Passage) -> Hypothesis:
    """The words of a "verbose_json" answer. Raises `KeyError`, `TypeError`, `ValueError` or `AttributeError` for another one."""
    text = str(answer["text"])
    segments = [segment for segment in answer.get("segments") or [] if str(segment["text"]).strip()]
    length = len(passage.samples) / RATE
    certain = [(float(s["start"]), float(s["end"]), math.exp(min(0.0, float(s.get("avg_logprob") or 0)))) for s in segments]
    timed: list[tuple[str, float, float, float]] = []
    if answer.get("words"):
        spoken = [str(word["word"]) for word in answer["words"]]
        for word, written in zip(answer["words"], _written(text, spoken), strict=True):
            start, end = float(word["start"]), float(word["end"])
            around = next((p for begin, close, p in certain if begin <= (start + end) / 2 <= close), 1.0)
            timed.append((written, start, end, float(word.get("probability", around))))
    elif segments:
        for segment, (start, end, p) in zip(segments, certain, strict=True):
            timed += _spread(str(segment["text"]), start, end, p)
    else:
        timed = _spread(text, 0.0, length, 1.0)
    words = []
    apart = written_in(passage) in UNSPACED
    for written, start, end, p in timed:
        begin = MediaTime.of(min(max(start, 0.0), length))
        close = MediaTime.of(min(max(end, 0.0), length))
        if written:
            glued = apart and not written.startswith(" ")
            words.append(
                HeardWord(written.strip(), passage.start + begin, passage.start + max(begin, close), min(max(p, 0.0), 1.0), glued=glued)
            )
    tokens = [max(1, len(segment.get("tokens") or [])) for segment in segments]
    means = [float(segment.get("avg_logprob") or 0) for segment in segments]
    return Hypothesis(
        tuple(words),
        sum(n * mean for n, mean in zip(tokens, means, strict=True)) / sum(tokens) if tokens else 0.0,
        max((float(segment.get("no_speech_prob") or 0) for segment in segments), default=0.0),
    )


def _written(text: str, spoken: Sequence[str]) -> list[str]:
    """Each word with the space before it and the marks around it that the text has: OpenAI's own server lists words without any."""
    found, position = [], 0
    for word in spoken:
        bare = word.strip()
        at = text.find(bare, position)
        if not bare or at < 0:
            found.append(bare)
            continue
        begin, end = at, at + len(bare)
        while begin > position and _MARK.match(text[begin - 1]):
            begin -= 1
        while end < len(text) and _MARK.match(text[end]):
            end += 1
        found.append((" " if text[:begin].endswith(" ") else "") + text[begin:end])
        position = end
    return found


def _spread(text: str, start: float, end: float, p: float) -> list[tuple[str, float, float, float]]:
    """The words of a text, evenly over its time."""
    words = text.split()
    letter = (end - start) / max(1, sum(map(len, words)))
    found, position = [], start
    for word in words:
        found.append((word, position, position + letter * len(word), p))
        position += letter * len(word)
    return found


def _excerpt(body: bytes) -> str:
    return repr(body[:200].decode(errors="replace"))
