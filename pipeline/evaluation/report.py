"""What an evaluation found, as numbers and as a page to read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipeline.evaluation import measures
from pipeline.evaluation.charts import bars
from pipeline.evaluation.measures import Asked, Share
from pipeline.evaluation.questions import KINDS

FORMAT = 1
WAYS = ("bm25", "dense", "hybrid", "hybrid, judged")
Numbers = dict[str, Any]
Heard = Sequence[tuple[str, int, int, Sequence[float]]]
"""For each medium its name, word errors, words said, and the delay of each final in seconds."""


def numbers(
    system: str,
    asked: Sequence[Asked],
    *,
    blind: Sequence[Asked] = (),
    small: Sequence[Asked] = (),
    heard: Heard = (),
    problems: Sequence[str] = (),
    about: Mapping[str, object] | None = None,
) -> Numbers:
    """Everything that is measured; a measure of nothing is `None`."""
    return {
        "format": FORMAT,
        "system": system,
        "about": dict(about or {}),
        "questions": len(asked),
        "answers": {kind: _share(measures.accuracy(_of(asked, kind))) for kind in KINDS if _of(asked, kind)},
        "answered": {kind: _share(Share(sum(e.mark.answered for e in _of(asked, kind)), len(_of(asked, kind)))) for kind in KINDS},
        "abstention": _abstention(asked),
        "citations": _share(measures.citations(asked)),
        "time_error_s": _spread(measures.time_errors(asked), None),
        "retrieval": {
            way: {"recall_at_5": _share(measures.recall_at(asked, way)), "mrr": _round(measures.reciprocal_rank(asked, way))}
            for way in WAYS
        },
        "latency_s": {
            "first_evidence": _spread([each.given.first_evidence_s for each in asked], 4),
            "first_word": _spread([each.given.first_word_s for each in asked], 4),
            "whole": _spread([each.given.whole_s for each in asked], 4),
        },
        "captions": _captions(heard),
        "failure_modes": _failure_modes(asked, blind, small),
        "failures": [each.given.failure for each in asked if each.given.failure],
        "problems": list(problems),
        "asked": [_row(each) for each in asked],
    }


def markdown(found: Numbers, before: Numbers | None = None) -> str:
    """The page; with an earlier run's numbers beside this one's."""
    tables = [
        _table("Answers", "share right; a trap is right when it is not answered", _answers(found), before and _answers(before)),
        _table(
            "Retrieval", "of questions whose evidence is known; the first right moment", _retrieval(found), before and _retrieval(before)
        ),
        _table(
            "Citations, times, delays", "in this process, or over the network to the running system", _rest(found), before and _rest(before)
        ),
        _table("Captions", "against the transcripts in the set", _heard(found), before and _heard(before)),
    ]
    head = f"# Evaluation of {found['system']}\n\n{found['questions']} questions."
    about = "".join(f"\n- {name}: {value}" for name, value in found["about"].items())
    modes = "\n\n".join(f"## {name}\n\n{text}" for name, text in _modes(found["failure_modes"]))
    wrong = _wrong(found["asked"])
    problems = "".join(f"\n- {problem}" for problem in found["problems"])
    parts = [head + about, *filter(None, tables), modes, wrong, f"## Problems\n{problems}" if problems else ""]
    return "\n\n".join(part for part in parts if part) + "\n"


def charts(found: Numbers, before: Numbers | None = None) -> dict[str, str]:
    """SVG files by name."""
    runs = [found, before] if before else [found]
    series = ("this run", "before") if before else ()

    def rows(take: Callable[[Numbers], dict[str, Any]]) -> list[tuple[str, list[float | None]]]:
        return [(name, [_value(take(run).get(name)) for run in runs]) for name in take(found)]

    return {
        "answers.svg": bars("Right answers, by where the answer stands", rows(_answers), series=series),
        "retrieval.svg": bars(
            "Retrieval: recall at 5", rows(lambda run: {way: run["retrieval"][way]["recall_at_5"] for way in WAYS}), series=series
        ),
    }


def _failure_modes(asked: Sequence[Asked], blind: Sequence[Asked], small: Sequence[Asked]) -> Numbers:
    unseen = [each for each in asked if each.question.kind in ("trap", "picture")]
    invented = [each for each in unseen if each.mark.answered and not each.mark.right]
    text = _of(asked, "text")
    seen_right = {(each.question.medium, each.question.text) for each in asked if each.mark.right}
    still = [each for each in blind if each.mark.answered]
    same = [each for each in still if (each.question.medium, each.question.text) in seen_right and each.mark.right]
    return {
        "hallucination": {"invented": _share(Share(len(invented), len(unseen)))},
        "small_text": {"as_is": _share(measures.accuracy(text)), "smaller": _share(measures.accuracy(small))},
        "language_prior": {"answered_unseen": _share(Share(len(still), len(blind))), "right_unseen": _share(Share(len(same), len(blind)))},
    }


def _modes(modes: Numbers) -> Iterable[tuple[str, str]]:
    yield (
        "Hallucination against the picture",
        "Of the questions about pictures and the traps, "
        f"{_said(modes['hallucination']['invented'])} were answered with something that is not so.",
    )
    small = modes["small_text"]
    smaller = "not measured (`--small PIXELS`)" if small["smaller"]["of"] == 0 else _said(small["smaller"])
    yield "Small text at low resolution", f"Read right: {_said(small['as_is'])} as the media are; in smaller copies: {smaller}."
    prior = modes["language_prior"]
    yield (
        "Language prior",
        "The questions about pictures and their text, asked once more of the same stream without any picture: "
        f"{_said(prior['answered_unseen'])} were still answered, {_said(prior['right_unseen'])} with the same right answer. "
        "Speech may say what the picture shows; whatever else is answered here was not seen but guessed.",
    )


def _captions(heard: Heard) -> Numbers:
    errors, words = sum(row[1] for row in heard), sum(row[2] for row in heard)
    delays = [delay for row in heard for delay in row[3]]
    return {
        "word_errors": _share(Share(errors, words)),
        "final_delay_s": _spread(delays, 3),
        "media": {name: _share(Share(wrong, said)) for name, wrong, said, _ in heard},
    }


def _abstention(asked: Sequence[Asked]) -> Numbers:
    found = measures.abstention(asked)
    return {"precision": _share(found.precision), "recall": _share(found.recall)}


def _answers(found: Numbers) -> dict[str, Any]:
    return {**found["answers"], **{f"abstention {name}": value for name, value in found["abstention"].items()}}


def _retrieval(found: Numbers) -> dict[str, Any]:
    return {
        f"{way}: {name}": found["retrieval"][way][key] for way in WAYS for name, key in (("recall at 5", "recall_at_5"), ("MRR", "mrr"))
    }


def _rest(found: Numbers) -> dict[str, Any]:
    errors = {f"time error {name}, s": value for name, value in found["time_error_s"].items()}
    delays = {f"{what.replace('_', ' ')} {name}, s": value for what, spread in found["latency_s"].items() for name, value in spread.items()}
    return {"citation precision": found["citations"], **errors, **delays}


def _heard(found: Numbers) -> dict[str, Any]:
    captions = found["captions"]
    delays = {f"final after the last word, {name}, s": value for name, value in captions["final_delay_s"].items()}
    return {"word error rate": captions["word_errors"], **delays, **{f"WER {name}": value for name, value in captions["media"].items()}}


def _table(title: str, note: str, rows: dict[str, Any], before: dict[str, Any] | None) -> str:
    known = {name: value for name, value in rows.items() if _value(value) is not None}
    if not known:
        return ""
    head = "| measure | this run |" + (" before |" if before is not None else "")
    rule = "| --- | --- |" + (" --- |" if before is not None else "")
    lines = [
        f"| {name} | {_said(value)} |" + (f" {_said(before.get(name))} |" if before is not None else "") for name, value in known.items()
    ]
    return "\n".join([f"## {title}", "", f"{note[0].upper()}{note[1:]}.", "", head, rule, *lines])


def _wrong(rows: Sequence[Numbers]) -> str:
    lines = [
        f"| {row['kind']} | {_cell(row['question'])} | {_cell(row['answer'])} | {_cell(str(row['accepted'] or 'not shown'))} |"
        for row in rows
        if not row["right"]
    ]
    head = ["## What was not right", "", "| kind | question | answer | true |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *lines]) if lines else ""


def _row(each: Asked) -> Numbers:
    return {
        "media": each.question.medium,
        "question": each.question.text,
        "kind": each.question.kind,
        "accepted": [list(parts) for parts in each.question.accepted],
        "answer": each.given.text or each.given.failure,
        "supported": each.given.supported,
        "confidence": _round(each.given.confidence),
        "right": each.mark.right,
        "citations": [
            {"kind": cited.kind, "start": _round(cited.start), "end": _round(cited.end), "text": cited.text}
            for cited in each.given.citations
        ],
    }


def _of(asked: Iterable[Asked], kind: str) -> list[Asked]:
    return [each for each in asked if each.question.kind == kind]


def _share(share: Share) -> Numbers:
    return {"value": _round(share.value), "part": share.part, "of": share.whole}


def _spread(values: Sequence[float | None], digits: int | None) -> Numbers:
    places = 3 if digits is None else digits
    return {f"p{percent}": _round(measures.percentile(values, percent), places) for percent in (50, 95)}


def _round(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def _value(value: Any) -> float | None:
    plain: float | None = value["value"] if isinstance(value, dict) else value
    return plain


def _said(value: Any) -> str:
    if _value(value) is None:
        return "-"
    return f"{value['value']:.0%} ({value['part']}/{value['of']})" if isinstance(value, dict) else f"{value:g}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
