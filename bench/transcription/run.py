"""How well and how soon speech becomes words: `python -m bench.transcription.run FILE... [--truth FILE]`.

Runs the transcribe step over the files' own audio packets as if they came live: each chunk is there when its audio has been
said, and the step is late by the time it computes. Prints for each file the word error rate of the finals (Whisper's English
normalisation), how long after a word's true end it was shown for good in a partial, was stable, and was final, and the
computing time per second of audio. The truth is JSON as `samples/demo.json`, or a manifest with such `entries`.
"""

import argparse
import asyncio
import json
import platform
import statistics
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jiwer
from watchword.v1 import events_pb2, transcript_pb2
from whisper.normalizers import EnglishTextNormalizer

from pipeline.media import chunks
from pipeline.media.publish import publish
from pipeline.transcribe.model import Transcriber, load
from pipeline.transcribe.stage import Transcribe
from pipeline.transcribe.vad import SpeechDetector, load_detector


@dataclass(frozen=True)
class Said:
    """A partial or a final, and when it was said, in seconds of the virtual clock."""

    segment: transcript_pb2.TranscriptSegment
    at_s: float


class Tape:
    """Takes what a publisher sends."""

    def __init__(self) -> None:
        self.audio: list[events_pb2.AudioEvent] = []

    async def publish(self, topic: str, stream_id: str, value: Any, **_: Any) -> None:
        """Keep the audio chunks."""
        if topic == "audio" and value.HasField("chunk"):
            self.audio.append(value)


async def run(path: Path, model: Transcriber, vad: SpeechDetector) -> tuple[list[Said], float, float]:
    """What was said, the computing time in seconds, and the length of the audio in seconds."""
    tape = Tape()
    await publish(str(path), tape, stream_id="bench", speed=None)
    stage = Transcribe("bench", model, vad)
    said: list[Said] = []
    clock = computed = heard = 0.0
    for event in [*tape.audio, None]:
        if event is not None:
            heard = chunks.media_end(event.chunk).seconds
        clock = max(clock, heard)
        begun = time.perf_counter()
        async for output in stage.flush() if event is None else stage.process(event):
            assert isinstance(output, events_pb2.TranscriptEvent)
            said.append(Said(output.segment, clock + time.perf_counter() - begun))
        elapsed = time.perf_counter() - begun
        clock, computed = clock + elapsed, computed + elapsed
    stage.close()
    return said, computed, heard


def true_words(truth: dict[str, Any]) -> list[tuple[str, float]]:
    """Each word and its end in seconds; empty where the truth has no times."""
    words = truth.get("words") or [word for segment in truth.get("segments", []) for word in segment.get("words", [])]
    # A manifest lists a word as [word, start, end].
    return [(word["w"], float(word["end"])) if isinstance(word, dict) else (word[0], float(word[2])) for word in words]


def latencies(said: list[Said], truth: list[tuple[str, float]]) -> dict[str, list[float]]:
    """Seconds from a word's true end until it was shown for good, stable, and final; for words that were heard right."""
    found: dict[str, list[float]] = {"shown": [], "stable": [], "final": []}
    rows: list[tuple[str, float, float, float]] = []
    for final in (entry for entry in said if entry.segment.is_final):
        told = [entry for entry in said if entry.segment.id == final.segment.id]
        for index, word in enumerate(final.segment.words):
            shown = stable = final.at_s
            for entry in reversed(told):
                if len(entry.segment.words) <= index or _plain(entry.segment.words[index].text) != _plain(word.text):
                    break
                shown = entry.at_s
                stable = entry.at_s if entry.segment.stable > index else stable
            rows.append((_plain(word.text), shown, stable, final.at_s))
    alignment = jiwer.process_words(" ".join(_plain(word) for word, _ in truth), " ".join(row[0] for row in rows)).alignments[0]
    for part in alignment:
        if part.type == "equal":
            for offset in range(part.ref_end_idx - part.ref_start_idx):
                end = truth[part.ref_start_idx + offset][1]
                _, shown, stable, last = rows[part.hyp_start_idx + offset]
                for name, at_s in (("shown", shown), ("stable", stable), ("final", last)):
                    found[name].append(at_s - end)
    return found


def _plain(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum()) or "-"


def truth_of(path: Path, given: Path | None) -> dict[str, Any] | None:
    """The truth about a file: what `given` says, or the JSON file beside it."""
    source = given or path.with_suffix(".json")
    if not source.is_file():
        return None
    content: dict[str, Any] = json.loads(source.read_text())
    if "entries" in content:
        return next((entry for entry in content["entries"] if str(path).endswith(entry["file"])), None)
    return content


def main() -> None:
    """Run, and print one line a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--truth", type=Path, help="JSON with the words, or a manifest with `entries`")
    parser.add_argument("--text", action="store_true", help="print the finals")
    arguments = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("faster-whisper", "ctranslate2", "onnxruntime", "av"))
    print(f"{platform.machine()}, Python {platform.python_version()}, {versions}; one thread a model")
    model, vad = load(), load_detector()
    normalise = EnglishTextNormalizer()
    errors = words = 0
    for path in arguments.files:
        said, computed, heard = asyncio.run(run(path, model, vad))
        finals = [entry.segment for entry in said if entry.segment.is_final]
        text = " ".join(segment.text for segment in finals)
        line = f"{path.name}: {heard:.1f} s, {len(finals)} finals ({sum(segment.corrected for segment in finals)} corrected), "
        truth = truth_of(path, arguments.truth)
        reference = normalise(truth["transcript"]) if truth else ""
        if reference:
            result = jiwer.process_words(reference, normalise(text) or "-")
            errors += result.substitutions + result.deletions + result.insertions
            words += len(reference.split())
            line += f"WER {result.wer:.1%}, "
        elif truth:
            line += f"{sum(len(segment.words) for segment in finals)} words where none are said, "
        for name, values in latencies(said, true_words(truth)).items() if truth and true_words(truth) else ():
            if len(values) > 1:
                line += f"{name} {statistics.mean(values):.2f}/{statistics.quantiles(values, n=20)[-1]:.2f} s, "
        print(f"{line}computing {computed / heard:.2f} s a second", flush=True)
        if arguments.text:
            print(f"    {text}")
    if words:
        print(f"all: WER {errors / words:.1%} of {words} words (times: mean/95th percentile after the word's end)")
    model.close()
    vad.close()


if __name__ == "__main__":
    main()
