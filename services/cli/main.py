"""The `watchword` command. Heavy imports stand inside the commands, so that `--help` answers at once."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import SettingInvalid, WatchwordError, reason_name
from services import speech
from services.cli.status import FAILED, WRONG_USE
from services.speech import Asked

app = typer.Typer(
    name="watchword",
    help="Live captions, described scenes and cited answers from any video, on your own machines.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="The models: which there are, and whether they are right.", no_args_is_help=True)
app.add_typer(models_app, name="models")
audit_app = typer.Typer(help="The audit log of the safety filter, and whether it is whole.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")
review_app = typer.Typer(help="What was flagged, redacted or withheld, for people to decide.", no_args_is_help=True)
app.add_typer(review_app, name="review")

SOURCE = Annotated[str, typer.Argument(help="A file, a URL (rtsp, rtmp, srt, http, hls) or a device such as /dev/video0.")]
STREAM = Annotated[str, typer.Argument(help="The stream's id.")]
SPEED = Annotated[str, typer.Option(help="How fast a recording is played: 1 (its own speed), another number, or max.")]
KAFKA = Annotated[str, typer.Option(help="The broker, as host:port.", envvar="WATCHWORD_KAFKA")]
GATEWAY = Annotated[str, typer.Option(help="The gateway, as host:port.", envvar="WATCHWORD_GATEWAY")]
EVENTS = Annotated[Path | None, typer.Option(help="Write every event to this file as one JSON object a line (docs/events.md).")]

STORE = Annotated[
    str,
    typer.Option(help="The scene memory with the audit log: an SQLite file, or a postgresql:// address.", envvar="WATCHWORD_STORE"),
]
AUDIT_KEY = Annotated[Path | None, typer.Option("--key", help="The file of the audit key, if there is one.", envvar="WATCHWORD_AUDIT_KEY")]
VERDICT = Annotated[str, typer.Argument(metavar="VERDICT", help="Its id, as `watchword review list` tells it.")]
OUT_FILE = Annotated[Path | None, typer.Option(help="Write to this file instead of printing.")]
ONE_STREAM = Annotated[str, typer.Option("--stream", help="Only what belongs to this stream.")]
REVIEWER = Annotated[str, typer.Option(help="Who decides; it is kept with the decision.")]
NOTE = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]

CATALOG = Annotated[
    list[Path] | None, typer.Option(metavar="<path>", help="A catalog file of your own, laid over the shipped one (docs/models.md).")
]
OUT = Annotated[Path | None, typer.Option(help="Write captions.vtt, captions.srt, scenes.json and contact sheets here in the end.")]
LANGUAGE = Annotated[str, typer.Option(help="The BCP 47 language that is spoken, such as de, or auto; as the settings say unless given.")]
TRANSLATE = Annotated[bool | None, typer.Option(help="Also caption other languages in English; as the settings say unless given.")]
TERM = Annotated[
    list[str] | None,
    typer.Option(metavar="<str>", help="A name or term that may be said, spelt as it should be; may be given several times."),
]

KEYFRAMES = Annotated[
    float | None,
    typer.Option(
        metavar="<float>", min=1, max=600, help="Keyframes that a scene yields each minute at most; as the settings say unless given."
    ),
]
GAP = Annotated[
    float | None,
    typer.Option(metavar="<float>", min=0.5, max=60, help="Seconds between two keyframes at most; as the settings say unless given."),
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"watchword {version('watchword')}")
        raise typer.Exit


@app.callback()
def _first(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version and exit.")] = False,
) -> None:
    """What can be asked without a command."""


@app.command()
def run(
    source: SOURCE,
    speed: SPEED = "1",
    out: OUT = None,
    language: LANGUAGE = "",
    translate: TRANSLATE = None,
    term: TERM = None,
    keyframes_per_minute: KEYFRAMES = None,
    keyframe_gap: GAP = None,
    ask: Annotated[
        list[str] | None, typer.Option(metavar="<str>", help="A question to answer in the end; may be given several times.")
    ] = None,
    events: EVENTS = None,
    stream: Annotated[str, typer.Option(help="The stream's id; the source's name unless given.")] = "",
    page: Annotated[
        bool, typer.Option("--page", help="Also show it as a page at http://127.0.0.1:8080/, or at WATCHWORD_HTTP, until Ctrl-C.")
    ] = False,
) -> None:
    """Understand a source in this one process. Captions, scenes, verdicts and answers come in the terminal, or on a page."""
    from services.cli.run import Wanted
    from services.cli.run import run as run_command

    asked = _asked(language, translate, term)
    sampling = {"keyframes_per_minute": keyframes_per_minute, "keyframe_gap": keyframe_gap}
    wanted = Wanted(speed=_speed(speed), out=out, questions=tuple(ask or ()), events=events, page=page)
    run_command(source, wanted, stream_id=stream, asked=asked, sampling=sampling)


@app.command()
def transcribe(
    sources: Annotated[list[str], typer.Argument(metavar="FILE...", help="Audio or video files, or URLs of recordings.")],
    out: Annotated[
        Path | None, typer.Option(help="Write NAME.txt, NAME.srt, NAME.vtt and NAME.json here; without, text is printed.")
    ] = None,
    formats: Annotated[str, typer.Option("--format", help="Of txt, srt, vtt and json those that are wanted, between commas.")] = "",
    language: LANGUAGE = "",
    translate: TRANSLATE = None,
    term: TERM = None,
    model: Annotated[str, typer.Option(help="The speech model: a name of the catalog, a directory (with a /), or URL#NAME.")] = "",
    jobs: Annotated[int, typer.Option(metavar="<int>", min=0, max=64, help="Files heard at once; 0 means one a core.")] = 0,
) -> None:
    """Write the captions of recordings, as fast as the machine goes."""
    from services.cli.transcribe import transcribe as transcribe_command

    asked = _asked(language, translate, term)
    transcribe_command(sources, out=out, formats=formats, model=model, asked=asked, jobs=jobs)


@app.command()
def publish(
    source: SOURCE,
    stream: Annotated[str, typer.Option(help="The stream's id; ids are used once.")],
    kafka: KAFKA = "127.0.0.1:9092",
    speed: SPEED = "1",
) -> None:
    """Send a source to Kafka, where the services take it up. Its packets stay compressed."""
    from services.cli.remote import publish as publish_command

    publish_command(source, stream_id=stream, kafka=kafka, speed=_speed(speed))


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help="transcriber, sampler, captioner, safety, memory or gateway.")],
    alone: Annotated[bool, typer.Option("--alone", help="Of safety: its gRPC face by itself, without a broker.")] = False,
) -> None:
    """Run one service over Kafka until it is stopped. docs/settings.md tells its settings."""
    from services.cli.remote import serve as serve_command

    serve_command(service, alone=alone)


@app.command()
def streams(gateway: GATEWAY = "127.0.0.1:50051") -> None:
    """Tell which streams the gateway knows. Beside each stands how far it has come, and whether it has ended."""
    from services.cli.remote import streams as streams_command

    streams_command(gateway)


@app.command()
def watch(
    stream: STREAM,
    gateway: GATEWAY = "127.0.0.1:50051",
    events: EVENTS = None,
    out: OUT = None,
    wait: Annotated[bool, typer.Option(help="Wait for a stream that is not known yet.")] = True,
) -> None:
    """Follow a stream at the gateway, as it happens, to its end."""
    from services.cli.remote import watch as watch_command

    watch_command(stream, gateway=gateway, events=events, out=out, wait=wait)


@app.command()
def ask(
    stream: STREAM,
    question: Annotated[str, typer.Argument(help="The question, in words.")],
    gateway: GATEWAY = "127.0.0.1:50051",
    events: EVENTS = None,
    live: Annotated[
        bool, typer.Option("--live", help='Tell each time that it holds, from now on: "tell me when a truck appears".')
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Read more questions from the terminal, as one conversation.")] = False,
    answerer: Annotated[str, typer.Option(help="extractive, chat or vlm; as the service is set up unless given.")] = "",
    also: Annotated[
        list[str] | None, typer.Option(metavar="<str>", help="Another stream to ask about; may be given several times.")
    ] = None,
) -> None:
    """Ask what a stream said or showed. The answer cites media times."""
    from services.cli import remote

    if live:
        remote.stand(stream, question, gateway=gateway)
    else:
        options = remote.AskOptions(tuple(also or ()), answerer, follow)
        remote.ask(stream, question, gateway=gateway, events=events, options=options)


@app.command("eval")
def evaluate(
    questions: Annotated[list[Path], typer.Argument(metavar="SET...", help="Question sets, JSON lines (docs/evaluation.md).")],
    out: Annotated[Path, typer.Option(help="The folder of report.json, report.md and the charts.")] = Path("out/eval"),
    part: Annotated[str, typer.Option(help="Only this part of the sets, such as held-out.")] = "",
    gateway: Annotated[str, typer.Option(help="Ask a running system, as host:port; without, everything happens in this process.")] = "",
    answerer: Annotated[str, typer.Option(help="extractive, chat or vlm.")] = "",
    against: Annotated[Path | None, typer.Option(help="The report.json of an earlier run to compare with.")] = None,
    speed: SPEED = "max",
    cache: Annotated[Path, typer.Option(help="Where what was understood of the media is kept.")] = Path("out/eval-cache"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Understand the media anew.")] = False,
    small: Annotated[
        int, typer.Option(metavar="<int>", min=0, max=1080, help="Also read text in copies of the media this many pixels high; 0: not.")
    ] = 0,
) -> None:
    """Measure how well questions are answered, and write a report."""
    from services.cli.evaluate import Options
    from services.cli.evaluate import evaluate as evaluate_command

    options = Options(part=part, gateway=gateway, answerer=answerer, speed=_speed(speed), cache=cache, fresh=fresh, small=small)
    evaluate_command(questions, out=out, against=against, options=options)


@app.command()
def forget(
    stream: STREAM,
    by: Annotated[str, typer.Option(help="Who has it removed; it is kept in the audit log.")],
    start: Annotated[str, typer.Option("--from", help="Only from this media time on, as H:MM:SS or seconds.")] = "",
    end: Annotated[str, typer.Option("--to", help="Only up to this media time.")] = "",
    reason: Annotated[str, typer.Option(help="Why; it is kept in the audit log.")] = "",
    store: STORE = "watchword.db",
    key: AUDIT_KEY = None,
) -> None:
    """Remove a stream, or a stretch of it, from memory for good. Words, vectors, thumbnails, verdicts and summaries go."""
    from services.cli.forget import forget as forget_command

    forget_command(stream, store, key, start=start, end=end, by=by, reason=reason)


@app.command()
def broker(
    listen: Annotated[str, typer.Option(help="Where it listens, as host:port; loopback only.")] = "127.0.0.1:9092",
) -> None:
    """Run a Kafka-protocol broker for this machine. It keeps its records in memory."""
    from services.cli.remote import broker as broker_command

    broker_command(listen)


@app.command()
def doctor(
    kafka: KAFKA = "127.0.0.1:9092",
    deep: Annotated[bool, typer.Option(help="Also check the hashes of all model files.")] = False,
) -> None:
    """Tell what this machine has and lacks, and what to do about it."""
    from services.cli.inspect import doctor as doctor_command

    doctor_command(kafka=kafka, deep=deep)


@app.command()
def health(address: Annotated[str, typer.Argument(help="A service's host:port, or its name.")]) -> None:
    """Exit with 0 if a service answers that it is serving."""
    from services.cli.remote import health as health_command

    health_command(address)


@audit_app.command("verify")
def audit_verify(
    store: STORE = "watchword.db",
    key: AUDIT_KEY = None,
    expect: Annotated[str, typer.Option(help="A head that was printed earlier, as ROWS:HASH: it must still be part of the log.")] = "",
) -> None:
    """Tell whether a row of the log was removed or changed. Which is told too, and the exit status is 1 then."""
    from services.cli.audit import verify as command

    command(store, key, expect)


@audit_app.command("export")
def audit_export(
    store: STORE = "watchword.db",
    key: AUDIT_KEY = None,
    out: OUT_FILE = None,
    stream: ONE_STREAM = "",
    content: Annotated[bool, typer.Option(help="Open what policies with keep_content sealed; needs the key.")] = False,
) -> None:
    """Write the log as JSON, one row a line."""
    from services.cli.audit import export as command

    command(store, key, out, stream, content=content)


@review_app.command("list")
def review_list(
    store: STORE = "watchword.db",
    stream: ONE_STREAM = "",
    everything: Annotated[bool, typer.Option("--all", help="Also what was decided.")] = False,
) -> None:
    """Tell what waits for a decision. That is what was flagged, redacted or withheld, when, why, and its keyframe."""
    from services.cli.audit import review_list as command

    command(store, stream, everything=everything)


@review_app.command("show")
def review_show(
    verdict: VERDICT,
    store: STORE = "watchword.db",
    out: Annotated[Path | None, typer.Option(help="Write its keyframe here; of several, the others into NAME-2 and so on.")] = None,
) -> None:
    """Tell all that is kept of a verdict; --out writes its keyframe."""
    from services.cli.audit import review_show as command

    command(store, verdict, out)


@review_app.command("uphold")
def review_uphold(verdict: VERDICT, reviewer: REVIEWER, store: STORE = "watchword.db", key: AUDIT_KEY = None, note: NOTE = "") -> None:
    """Decide that a verdict was right."""
    from services.cli.audit import decide

    decide(store, key, verdict, "uphold", reviewer, note)


@review_app.command("overturn")
def review_overturn(verdict: VERDICT, reviewer: REVIEWER, store: STORE = "watchword.db", key: AUDIT_KEY = None, note: NOTE = "") -> None:
    """Decide that a verdict was wrong."""
    from services.cli.audit import decide

    decide(store, key, verdict, "overturn", reviewer, note)


@review_app.command("export")
def review_export(
    store: STORE = "watchword.db",
    key: AUDIT_KEY = None,
    out: OUT_FILE = None,
    policies: Annotated[Path | None, typer.Option(help="The policy file whose wordings are used.", envvar="WATCHWORD_POLICIES")] = None,
) -> None:
    """Write the decisions as preferences, to tune a model. Each is one JSON object a line: prompt, chosen, rejected."""
    from services.cli.audit import review_export as command

    command(store, key, out, policies)


@models_app.command("list")
def models_list(catalog: CATALOG = None) -> None:
    """Tell every model, its licence, and whether it is here."""
    from services.cli.inspect import models_list as command

    command(catalog or [])


@models_app.command("verify")
def models_verify(catalog: CATALOG = None) -> None:
    """Check the hashes of all model files that are here."""
    from services.cli.inspect import models_verify as command

    command(catalog or [])


@models_app.command("pull")
def models_pull(
    name: Annotated[str, typer.Argument(help="The model's name in the catalog.")],
    source: Annotated[Path | None, typer.Option("--from", help="Take the files from this folder instead of the hub.")] = None,
    catalog: CATALOG = None,
) -> None:
    """Fetch a model at the revision that the catalog names. No other command uses a hub."""
    from services.cli.inspect import models_pull as command

    command(name, source, catalog or [])


def _asked(language: str, translate: bool | None, terms: list[str] | None) -> Asked:
    try:
        return Asked(speech.language(language) if language else "", translate, tuple(terms or ()))
    except ValueError as error:
        raise SettingInvalid(f"--language {language}: {error}") from None


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1000:
        raise SettingInvalid(f"--speed {text}: a number over 0, up to 1000, or max is needed")
    return speed


def main() -> None:
    """The command line's entry; a failure is one clear message and an exit status that is not 0."""
    try:
        app()
    except WatchwordError as error:
        print(f"watchword: {error} [{reason_name(error.reason)}]", file=sys.stderr)
        sys.exit(WRONG_USE if isinstance(error, SettingInvalid) else FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
