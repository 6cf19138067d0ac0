"""Events as people read them in a terminal: captions that are revised in place, scenes, verdicts, answers."""

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from watchword.v1 import answer_pb2

from pipeline.timeline import MediaTime
from services.cli.counting import counted
from services.cli.viewer import Viewer
from services.events import Event

INDENT = 14
"""Columns before the words, where times and labels stand."""
PICTURES_KEPT = 1000
"""Of how many keyframes the scores are kept for the line about their scene, which may never come."""
ACTIONS = {
    "flag": "flagged",
    "redact": "redacted",
    "block": "withheld",
    "unscored": "withheld, because nothing here can judge it",
}
"""What was done with what did not pass."""


class Terminal:
    """Prints what is settled as lines, and the sentence being spoken below them, rewritten as it changes.

    Where the output is no terminal only settled lines are printed. Use it as a context manager.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _Console(highlight=False)
        self._answer = ""
        self._scene: Event = {"keyframes": []}
        self._pictures: dict[str, dict[str, float]] = {}
        self._not_judged: Event | None = None
        """The verdict on the latest picture, for what it says that nothing judged."""
        self._live = Live(console=self._console, auto_refresh=False, transient=True) if self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str | Text) -> None:
        """Print a line of our own."""
        self._console.print(text, soft_wrap=True)

    def ask(self, question: str) -> None:
        """Show a question; what follows is its answer."""
        self._answer = ""
        self._line("", "question", Text(question, style="bold"), style="yellow")

    def answer(self, text: str) -> None:
        """Show the next words of the answer to the latest question."""
        self._answer += text
        self._show_below(self._row("", "answer", Text(self._answer), "yellow"))

    def end_answer(self, answer: answer_pb2.Answer) -> None:
        """The answer is complete."""
        self._show_below(None)
        self._line("", "answer", Text(answer.text, style="" if answer.supported else "dim"), style="yellow")

    def summary(self, viewer: Viewer, paths: Sequence[Path]) -> None:
        """What was understood in all, by what, and where the files are."""
        said = [segment for segment in viewer.finals if not segment.translation_of]
        words = sum(len(segment.words) for segment in said)
        models = sorted(viewer.models)
        self.say("")
        self.say(
            f"{counted(words, 'word')} in {counted(len(said), 'segment')}, {counted(len(viewer.scenes), 'scene')}, "
            f"{counted(viewer.keyframes, 'keyframe')}, {counted(len(viewer.answers), 'answer')}, {counted(len(viewer.errors), 'problem')}"
        )
        if viewer.statistics is not None:
            self.say(f"speech: {viewer.statistics['text']}")
        if models:
            self.say(f"used: {', '.join(models)}")
        for path in paths:
            self.say(f"wrote: {path}")

    def write(self, events: Iterable[Event]) -> None:
        """Show events; answers are shown as they are found (`answer`), statistics in the end (`summary`)."""
        for event in events:
            match event["type"]:
                case "partial":
                    self._show_partial(event)
                case "final":
                    self._show_below(None)
                    self._show_final(event)
                case "scene":
                    self._scene = event
                    self._show_scene(event)
                case "verdict":
                    self._show_verdict(event)
                case "gap":
                    self._line(_span(event), "gap", Text(event["text"]), style="yellow")
                case "error":
                    self._line("", "problem", Text(f"{event['text']} [{event['reason']}]"), style="red")

    def _show_partial(self, event: Event) -> None:
        words = [("" if not place or word.get("glued") else " ") + word["w"] for place, word in enumerate(event["words"])]
        text = Text("".join(words[: event["stable"]]), style="bold")
        text.append("".join(words[event["stable"] :]), style="not bold dim italic")
        self._show_below(self._row(_time(_said_at(event)), "", text, ""))

    def _show_final(self, event: Event) -> None:
        """One without words only takes back what a partial said."""
        label = "in English" if event["translation_of"] else ""
        if event["text"]:
            self._line(_time(_said_at(event)), label, Text(event["text"], style="" if label else "bold"))

    def _show_scene(self, event: Event) -> None:
        self._line(_span(event), "scene", Text(event["text"]), style="green")
        frames = ", ".join(f"{_time(frame['media_start'])} {frame['reason']}" for frame in event["keyframes"])
        self._line("", "", Text(f"keyframes: {frames}", style="dim"))

    def _show_verdict(self, event: Event) -> None:
        """What passes is told once for each scene, with the highest scores of its pictures; what does not pass, at once."""
        if event["action"] != "allow":
            cause = f" — {event['text']}" if event["text"] else ""
            told = f"{event['kind']} {ACTIONS[event['action']]}{cause} ({_scores(event['scores'])}{_unscored(event)})"
            self._line(_span(event), "safety", Text(told, style="red"), style="magenta")
        elif event["kind"] == "keyframe":
            self._pictures[event["of"]] = event["scores"]
            self._not_judged = event
            if len(self._pictures) > PICTURES_KEPT:
                del self._pictures[next(iter(self._pictures))]
        elif event["kind"] == "scene":
            pictures = f"{_scores(self._highest_of(self._scene))}{_unscored(self._not_judged)}"
            told = f"allowed; pictures: {pictures}; words: {_scores(event['scores'])}{_unscored(event)}"
            self._line("", "safety", Text(told, style="dim"), style="magenta")

    def _highest_of(self, scene: Event) -> dict[str, float]:
        """The highest score of each policy over a scene's keyframes, which are then forgotten."""
        highest: dict[str, float] = {}
        for frame in scene["keyframes"]:
            for policy, score in self._pictures.pop(frame["id"], {}).items():
                highest[policy] = max(score, highest.get(policy, 0.0))
        return highest

    def _show_below(self, row: RenderableType | None) -> None:
        """Show something that will change, below the lines that are settled."""
        if self._live is not None:
            self._live.update(row or Text(""), refresh=True)

    def _line(self, when: str, label: str, text: Text, *, style: str = "") -> None:
        if self._console.is_terminal:
            self._console.print(self._row(when, label, text, style))
        else:
            # A pipe has no width: whoever reads it wraps as they like.
            head = f"{when:>{INDENT - 2}}  " + (f"{label}  " if label else "")
            self._console.print(Text(head) + text, soft_wrap=True)

    def _row(self, when: str, label: str, text: Text, style: str) -> RenderableType:
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=INDENT - 2, justify="right", style="cyan")
        row.add_column()
        row.add_row(when, Text(f"{label}  ", style=style) + text if label else text)
        return row


class _Console(Console):
    """Tells that nobody reads any more, as of `watchword run ... | head`, with an error that ends what goes on in good order."""

    def on_broken_pipe(self) -> None:
        try:
            super().on_broken_pipe()
        except SystemExit:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None


def _unscored(event: Event | None) -> str:
    return f", not judged: {', '.join(event['unscored'])}" if event and event["unscored"] else ""


def _scores(scores: Mapping[str, float]) -> str:
    """The highest score, and how many policies were asked."""
    if not scores:
        return "not scored"
    policy, score = max(scores.items(), key=lambda item: item[1])
    return f"{policy} {score:.2f}" if len(scores) == 1 else f"all {len(scores)} policies at most {score:.2f}"


def _said_at(event: Event) -> float:
    """When its first word is said, as subtitles and citations have it; a segment begins with the breath before."""
    seconds: float = event["words"][0]["start"] if event["words"] else event["media_start"]
    return seconds


def _time(seconds: float) -> str:
    return MediaTime.of(seconds).clock()


def _span(event: Event) -> str:
    return f"{_time(event['media_start'])}–{_time(event['media_end'])}"
