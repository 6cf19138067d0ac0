"""Sessions of speech from a manifest of media files: what a system hears in one go, and what is said in it.

A manifest is JSON whose `entries` name a `file` beside it, its `kind`, and, for speech, `language`, `transcript` and `words`
(`[word, start, end]` in seconds, in the entry or in its `segments`). The utterances of one reader of LibriSpeech follow each
other in one session, and so do the sentences of LJ Speech; every other file is a session.
"""

import json
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from bench.transcription.metrics import Truth, Word

RATE = 16_000
KINDS = ("librispeech", "lj", "speech", "derived", "non-speech")


@dataclass(frozen=True)
class Session:
    """Float32 mono at 16 kHz, and what is said in it."""

    name: str
    kind: str
    """One of `KINDS`; "derived" was mixed from other files: noise, music, silences, readers in turn."""
    samples: NDArray[np.float32]
    truth: Truth

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / RATE


def load(manifest: Path, patterns: Sequence[str] = ("*",)) -> list[Session]:
    """The sessions whose name or kind fits one of the patterns, such as "jfk", "1*" or "librispeech"."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in json.loads(manifest.read_text())["entries"]:
        if (place := _place(entry)) is not None:
            groups.setdefault(place, []).append(entry)
    wanted = [
        (kind, name, entries)
        for (kind, name), entries in groups.items()
        if any(fnmatch(name, pattern) or kind == pattern for pattern in patterns)
    ]
    wanted.sort(key=lambda group: (KINDS.index(group[0]), group[1]))
    return [_session(manifest.parent, kind, name, entries) for kind, name, entries in wanted]


def decode(path: Path) -> NDArray[np.float32]:
    """The sound of a file as float32 mono at 16 kHz."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    parts: list[NDArray[np.float32]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            parts += [block.to_ndarray()[0] for block in resampler.resample(frame)]
        parts += [block.to_ndarray()[0] for block in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32)


def write_wav(session: Session, path: Path) -> None:
    """The session as 16-bit mono WAV at 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(session.samples, -1, 32767 / 32768) * 32768).round().astype("<i2").tobytes())


def _place(entry: dict[str, Any]) -> tuple[str, str] | None:
    """Kind and name of the session to which an entry belongs; `None` for all but English speech with a transcript and non-speech."""
    path, kind = Path(entry["file"]), entry.get("kind", "")
    if kind == "non-speech":
        return "non-speech", path.stem
    if not kind.startswith(("speech", "composite")) or entry.get("language") != "en" or not entry.get("transcript"):
        return None
    if "librispeech" in path.parts:
        return "librispeech", path.stem.split("-")[0]
    if path.stem.startswith("LJ"):
        return "lj", path.stem.split("-")[0]
    return ("derived" if kind == "composite" or "derived" in path.parts else "speech"), path.stem


def _session(directory: Path, kind: str, name: str, entries: list[dict[str, Any]]) -> Session:
    parts, words, said = [], [], []
    start = 0
    for entry in sorted(entries, key=lambda entry: entry["file"]) if len(entries) > 1 else entries:
        samples = decode(directory / entry["file"])
        words += [Word(text, begin + start / RATE, end + start / RATE) for text, begin, end in _words(entry)]
        said.append(entry.get("transcript_normalised") or entry.get("transcript") or "")
        parts.append(samples)
        start += len(samples)
    return Session(name, kind, np.concatenate(parts), Truth(" ".join(said).strip(), tuple(words)))


def _words(entry: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    listed = entry.get("words") or [word for segment in entry.get("segments", ()) for word in segment.get("words", ())]
    for text, begin, end in listed:
        yield text, float(begin), float(end)
