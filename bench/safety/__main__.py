"""Measure the safety filter: `PYTHONPATH=.:protos python -m bench.safety [texts] [running] [media] [latency] [--media DIR] [--text FILE]`.

texts: precision and recall of each policy on the labelled texts, with 95 % intervals, and what was wrong.
running: how many finals of harmless running text, such as news, are touched.
media: false positives on what is said in a folder of media with a manifest, and the pictures beside it.
latency: the text cascade on finals and partials, and a frame, on one core.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

from watchword.v1.safety_pb2 import Action

from bench.safety.data import SPLITS, Labelled, read, wilson
from pipeline.safety import linear, model
from pipeline.safety.book import FixedBook
from pipeline.safety.findings import Said
from pipeline.safety.judge import Judge
from pipeline.safety.model import NoPictures
from pipeline.safety.policy import Policy, Subject
from pipeline.safety.policy_file import read as read_policies
from pipeline.safety.stage import BEFORE_A_PARTIAL, BEFORE_CHARACTERS

WORDS_OF_A_FINAL = 40


def main() -> None:
    """Run what is asked for; everything where nothing is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="texts, running, media, latency")
    parser.add_argument("--media", type=Path, help="a folder with manifest.json and images/")
    parser.add_argument("--text", type=Path, action="append", default=[], help="a file of harmless English running text")
    parser.add_argument("--wrong", action="store_true", help="print every text that was judged wrongly")
    asked = parser.parse_args()
    what = asked.what or ["texts", "latency", *(["media"] if asked.media else [])]
    print(f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "phonenumbers", "confusable-homoglyphs", "pillow")))
    if "texts" in what:
        for path in SPLITS:
            texts(path, wrong=asked.wrong)
    for path in asked.text if "running" in what or not asked.what else ():
        running(path)
    if "media" in what:
        media(asked.media)
    if "latency" in what:
        latency()


def processor() -> str:
    """The processor's name, where the system tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def policies() -> dict[str, Policy]:
    """The shipped policies, and the one for the linear classifier, which is there but not enabled."""
    found = dict(read_policies().of("").policies)
    found[linear.POLICY] = Policy(linear.POLICY, "", frozenset([Subject.SPEECH, Subject.QUESTION]), 0.9, Action.ACTION_FLAG)
    return found


def texts(path: Path, *, wrong: bool) -> None:
    """Precision and recall of each policy on the texts of a file."""
    held = policies()
    # What was asked to be removed is no matter here: every policy is looked at by itself, on speech as on questions.
    judge = Judge(NoPictures(), book=FixedBook(held))
    items = list(read(path))
    judged = [(item, violated(judge, held, item)) for item in items]
    print(f"\n{path.name}: {len(items)} texts, {sum(bool(item.policies) for item in items)} of them violate a policy\n")
    print("| policy | texts | found | precision | recall |\n| --- | --- | --- | --- | --- |")
    for name in held:
        if name == "violence-gore":
            continue
        labels = {name} if name != linear.POLICY else {"profanity", "hate", "harassment", "self-harm", "sexually-explicit"}
        row(name, [(bool(item.policies & labels), name in found) for item, found in judged])
    acted = [name for name in held if name != linear.POLICY]
    row("any, offensive-tone left out", [(bool(item.policies), bool(found & {*acted})) for item, found in judged])
    if wrong:
        for item, found in judged:
            if (missed := item.policies - found) or (found - {linear.POLICY}) - item.policies:
                print(f"  {'missed ' + ','.join(missed) if missed else 'false ' + ','.join(found - item.policies)}: {item.text}")


def violated(judge: Judge, held: dict[str, Policy], item: Labelled) -> set[str]:
    """The policies that the judge takes for violated."""
    subject = Subject.QUESTION if item.question else Subject.SPEECH
    verdict = judge.text(item.text, subject=subject).verdict
    return {score.policy for score in verdict.scores if held[score.policy].violated_by(score.probability, subject)}


def row(name: str, pairs: list[tuple[bool, bool]]) -> None:
    """One line of the table: of pairs (it is so, it was said so)."""
    hits = sum(truth and said for truth, said in pairs)
    truths, said = sum(truth for truth, _ in pairs), sum(said for _, said in pairs)
    print(f"| {name} | {truths} | {said} | {share(hits, said)} | {share(hits, truths)} |")


def share(hits: int, of: int) -> str:
    """A share with its interval, in percent."""
    if not of:
        return "none"
    low, high = wilson(hits, of)
    return f"{100 * hits / of:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def said_in(value: Any) -> Iterator[str]:
    """Every transcript of a manifest's entries."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("transcript", "text") and isinstance(inner, str):
                yield inner
            else:
                yield from said_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from said_in(inner)


def finals_of(text: str) -> Iterator[list[str]]:
    """A transcript in stretches as long as finals are."""
    words = text.split()
    for start in range(0, len(words), WORDS_OF_A_FINAL):
        yield words[start : start + WORDS_OF_A_FINAL]


def running(path: Path) -> None:
    """False positives on a file of running text."""
    count(path.name, Judge(NoPictures()), list(finals_of(path.read_text("utf-8", "replace"))))


def count(name: str, judge: Judge, finals: list[list[str]]) -> None:
    """How many finals, each judged as a stream's are, with what was said before it, are not allowed as they are."""
    touched, before = [], ""
    for words in finals:
        text = " ".join(words)
        verdict = judge.transcript(text, words, said=Said("en", before, goes_on=True)).verdict
        before = f"{text[-BEFORE_CHARACTERS:]} "
        if verdict.action != Action.ACTION_ALLOW:
            touched.append((verdict.cause, [text[each.start : each.end] for each in verdict.redactions] or [text]))
    _, high = wilson(len(touched), len(finals))
    print(f"\n{name}: {len(touched)} of {len(finals)} finals not allowed: {share(len(touched), len(finals))}, at most {100 * high:.2f} %")
    for cause, what in touched:
        print("  ", cause, what)


def media(folder: Path) -> None:
    """False positives on a folder's transcripts, and what the picture model says of its images."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    finals = [words for text in dict.fromkeys(said_in(manifest["entries"])) for words in finals_of(text)]
    for name, held in (("shipped policies", read_policies().of("").policies), ("with the linear classifier", policies())):
        judge = Judge(NoPictures(), book=FixedBook(held))
        count(name, judge, finals)
    classifier = model.load()
    print("\n| picture | P(sexually explicit) |\n| --- | --- |")
    for path in sorted((folder / "images").glob("*.jpg")):
        scores = asyncio.run(classifier.classify(path.read_bytes()))
        print(f"| {path.name} | {scores['sexually-explicit']:.3f} |")
    classifier.close()


def latency() -> None:
    """What judging takes, by the wall clock and by the processor's."""
    held = read_policies().of("").policies
    judge = Judge(NoPictures(), book=FixedBook(held))
    harmless = [item.text for item in read() if not item.policies]
    words = " ".join(harmless).split()
    finals = [words[start : start + WORDS_OF_A_FINAL] for start in range(0, len(words) - WORDS_OF_A_FINAL, 7)]
    partials = [final[:count] for final in finals for count in range(2, 20, 3)]
    judge.transcript("warm", ["warm"])
    print("\n| what | n | wall p50 | wall p95 | processor p50 | processor p95 |, in ms\n| --- | --- | --- | --- | --- | --- |")
    before = " ".join(finals[0])[-BEFORE_CHARACTERS:] + " "
    for name, final, items in (("final of 40 words", True, finals), ("partial of 2 to 17 words", False, partials)):
        said = Said("en", before if final else before[-BEFORE_A_PARTIAL:], goes_on=True, final=final)
        report(name, [timed(lambda item=item: judge.transcript(" ".join(item), item, said=said)) for item in items])  # noqa: B023
    classifier = model.load()
    jpeg = picture()
    assert isinstance(classifier, model.OpenNsfw)
    classifier.judge([jpeg])
    report("frame of 448 x 252", [timed(lambda: classifier.judge([jpeg])) for _ in range(100)])
    classifier.close()


def timed(work: Any) -> tuple[float, float]:
    """Wall and processor time of one call, in ms."""
    wall, processor = time.perf_counter(), time.thread_time()
    work()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.thread_time() - processor)


def report(name: str, times: list[tuple[float, float]]) -> None:
    """One line of the table."""
    numbers = []
    for values in ([wall for wall, _ in times], [processor for _, processor in times]):
        numbers += [statistics.median(values), sorted(values)[int(0.95 * len(values))]]
    print(f"| {name} | {len(times)} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |")


def picture() -> bytes:
    """A JPEG as the sampler makes them."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(5)
    image = Image.fromarray(rng.integers(0, 255, (9, 16, 3), dtype=np.uint8)).resize((448, 252), Image.Resampling.BICUBIC)
    stored = BytesIO()
    image.save(stored, "JPEG", quality=85)
    return stored.getvalue()


if __name__ == "__main__":
    main()
