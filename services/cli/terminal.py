"""Events as people read them in a terminal: captions that are revised in place, scenes, verdicts, answers."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from watchword.v1 import answer_pb2

from pipeline.timeline import MediaTime
from services.cli.events import Event
from services.cli.viewer import Viewer

INDENT = 14
"""Columns before the words, where times and labels stand."""
REASONS = {"first": "first picture", "cut": "cut", "change": "change", "interval": "still watching"}
"""Why a keyframe was taken, in words."""


class Terminal:
    """Prints what is settled as lines, and the sentence being spoken below them, rewritten as it changes.

    Where the output is no terminal only settled lines are printed. Use it as a context manager.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._answering = False
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
        self._line("", "question", Text(question, style="bold"), style="yellow")

    def answer(self, text: str) -> None:
        """Show the next words of the answer to the latest question."""
        if not self._answering:
            self._console.print(" " * INDENT + "[yellow]answer[/yellow]  ", end="")
            self._answering = True
        self._console.print(Text(text), end="", soft_wrap=True)

    def end_answer(self, answer: answer_pb2.Answer) -> None:
        """The answer is complete; one that nothing supports is marked."""
        self._answering = False
        self._console.print("" if answer.supported else Text("  (not supported by the stream)", style="dim"))

    def summary(self, viewer: Viewer, paths: Sequence[Path]) -> None:
        """What was understood in all, by what, and where the files are."""
        words = sum(len(segment.words) for segment in viewer.finals)
        models = sorted(viewer.models)
        self.say("")
        self.say(
            f"{words} words in {len(viewer.finals)} segments, {len(viewer.scenes)} scenes, {len(viewer.keyframes)} keyframes, "
            f"{len(viewer.answers)} answers, {len(viewer.errors)} problems"
        )
        if models:
            self.say(f"used: {', '.join(models)}")
        for path in paths:
            self.say(f"wrote: {path}")

    def write(self, events: Iterable[Event]) -> None:
        """Show events."""
        for event in events:
            match event["type"]:
                case "partial":
                    self._show_partial(event)
                case "final":
                    self._clear_partial()
                    self._line(_time(event["media_start"]), "", Text(event["text"], style="bold"))
                case "keyframe":
                    why = f"{REASONS.get(event['reason'], event['reason'])}, novelty {event['score']:.2f}"
                    self._line(_time(event["media_start"]), "picture", Text(why, style="dim"), style="blue")
                case "scene":
                    self._show_scene(event)
                case "verdict":
                    self._show_verdict(event)
                case "answer":
                    pass
                case "gap":
                    self._line(_span(event), "gap", Text(event["text"]), style="yellow")
                case "error":
                    self._line("", "problem", Text(f"{event['text']} [{event['reason']}]"), style="red")

    def _show_partial(self, event: Event) -> None:
        if self._live is None:
            return
        words = [word["w"] for word in event["words"]]
        text = Text(f"{_time(event['media_start']):>{INDENT - 2}}  ", style="dim")
        text.append(" ".join(words[: event["stable"]]) + " ", style="bold")
        text.append(" ".join(words[event["stable"] :]), style="dim italic")
        self._live.update(text, refresh=True)

    def _clear_partial(self) -> None:
        if self._live is not None:
            self._live.update(Text(""), refresh=True)

    def _show_scene(self, event: Event) -> None:
        self._line(_span(event), "scene", Text(event["text"]), style="green")
        frames = ", ".join(f"{_time(frame['media_start'])} {frame['reason']}" for frame in event["keyframes"])
        self._line("", "", Text(f"from keyframes {frames}", style="dim"))

    def _show_verdict(self, event: Event) -> None:
        """A keyframe or sentence that passes is not worth a line: the scene's verdict is, and whatever does not pass."""
        if event["action"] == "allow" and event["kind"] != "scene":
            return
        scores = ", ".join(f"{policy} {score:.2f}" for policy, score in event["scores"].items())
        cause = f" — {event['text']}" if event["text"] else ""
        told = f"{event['kind']}: {event['action']}{cause} ({scores or 'nothing scored'})"
        self._line("", "verdict", Text(told, style="dim" if event["action"] == "allow" else "red"), style="magenta")

    def _line(self, when: str, label: str, text: Text, *, style: str = "") -> None:
        if not self._console.is_terminal:
            # A pipe has no width: whoever reads it wraps as they like.
            head = f"{when:>{INDENT - 2}}  " + (f"{label}  " if label else "")
            self._console.print(Text(head) + text, soft_wrap=True)
            return
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=INDENT - 2, justify="right", style="cyan")
        row.add_column()
        row.add_row(when, Text(f"{label}  ", style=style) + text if label else text)
        self._console.print(row)


def _time(seconds: float) -> str:
    return MediaTime.of(seconds).clock()


def _span(event: Event) -> str:
    return f"{_time(event['media_start'])}–{_time(event['media_end'])}"
