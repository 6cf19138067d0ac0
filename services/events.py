"""Everything that happens on a stream as JSON objects; the format is promised in docs/events.md."""

from typing import Any, Literal

from google.protobuf.duration_pb2 import Duration
from watchword.v1 import answer_pb2, errors_pb2, events_pb2, safety_pb2, scene_pb2, transcript_pb2

from pipeline.errors import reason_name
from pipeline.timeline import MediaTime

Event = dict[str, Any]


def of_cleared(event: events_pb2.ClearedEvent, emitted_s: float) -> list[Event]:
    """The events that a cleared item amounts to: itself, and the verdict on it where it is not a partial."""
    which = event.WhichOneof("event")
    match which:
        case "segment":
            segment = event.segment
            events = [_segment(segment, emitted_s)]
            if segment.is_final and segment.HasField("verdict"):
                events.append(_verdict(segment, "transcript", segment.media_start, segment.media_end, emitted_s))
            return events
        case "keyframe":
            frame = event.keyframe
            events = [_base("keyframe", frame, frame.media_time, frame.media_time, emitted_s) | _keyframe(frame)]
            if frame.HasField("verdict"):
                events.append(_verdict(frame, "keyframe", frame.media_time, frame.media_time, emitted_s))
            return events
        case "caption":
            caption = event.caption
            events = [_base("scene", caption, caption.media_start, caption.media_end, emitted_s) | scene(caption)]
            if caption.HasField("verdict"):
                events.append(_verdict(caption, "scene", caption.media_start, caption.media_end, emitted_s))
            return events
        case "withheld":
            withheld = event.withheld
            return [_verdict(withheld, withheld.kind, withheld.media_start, withheld.media_end, emitted_s)]
        case "gap":
            gap = event.gap
            return [_base("gap", gap, gap.media_start, gap.media_end, emitted_s) | {"text": gap.cause}]
        case "stats":
            stats = event.stats
            return [_base("statistics", stats, Duration(), stats.media_end, emitted_s) | _statistics(stats)]
        case _:
            return []


def of_error(error: errors_pb2.ErrorEvent, emitted_s: float) -> Event:
    """The event that tells a failure."""
    at = error.media_time if error.HasField("media_time") else None
    return {
        "type": "error",
        "id": error.id,
        "stream": error.stream_id,
        "media_start": _seconds(at) if at is not None else None,
        "media_end": _seconds(at) if at is not None else None,
        "emitted": round(emitted_s, 3),
        "text": error.message,
        "reason": reason_name(error.reason),
        "step": error.step,
        "origin": error.origin,
    }


def of_answer(answer: answer_pb2.Answer, emitted_s: float) -> list[Event]:
    """The event that tells an answer, and the verdict on it."""
    starts = [evidence.media_start for evidence in answer.evidence]
    first = min(starts, key=MediaTime.from_proto) if starts else Duration()
    last = max((evidence.media_end for evidence in answer.evidence), key=MediaTime.from_proto) if starts else Duration()
    event = _base("answer", answer, first, last, emitted_s) | {
        "text": answer.text,
        "question": answer.question,
        "supported": answer.supported,
        "evidence": [evidence(each, answer.stream_id) for each in answer.evidence],
        "model": answer.model,
        "claims": [claim(each, answer.stream_id) for each in answer.claims],
        "confidence": _short(answer.confidence),
        "partial_cause": answer.partial_cause,
        "conversation": answer.conversation_id,
    }
    return [event, _verdict(answer, "answer", first, last, emitted_s)] if answer.HasField("verdict") else [event]


def evidence(found: answer_pb2.Evidence, stream_id: str) -> Event:
    """One thing that an answer rests on; it is of `stream_id` unless it names another stream."""
    return {
        "kind": answer_pb2.EvidenceKind.Name(found.kind).removeprefix("EVIDENCE_KIND_").lower().replace("_", "-"),
        "id": found.source_id,
        "stream": found.stream_id or stream_id,
        "media_start": _seconds(found.media_start),
        "media_end": _seconds(found.media_end),
        "text": found.text,
        "score": _short(found.score),
    }


def claim(told: answer_pb2.Claim, stream_id: str) -> Event:
    """A sentence of an answer, with what supports it."""
    return {"text": told.text, "citations": [evidence(each, stream_id) for each in told.citations]}


def _base(kind: str, item: Any, start: Duration, end: Duration, emitted_s: float) -> Event:
    return {
        "type": kind,
        "id": item.id,
        "stream": item.stream_id,
        "media_start": _seconds(start),
        "media_end": _seconds(end),
        "emitted": round(emitted_s, 3),
    }


def _segment(segment: transcript_pb2.TranscriptSegment, emitted_s: float) -> Event:
    event = _base("final" if segment.is_final else "partial", segment, segment.media_start, segment.media_end, emitted_s)
    event["text"] = segment.text
    event["words"] = [_word(word) for word in segment.words]
    event |= {
        "stable": segment.stable,
        "revision": segment.revision,
        "language": segment.language,
        "language_probability": _short(segment.language_probability) or None,
        "translation_of": segment.translation_of or None,
    }
    return event | {"corrected": segment.corrected, "model": segment.model} if segment.is_final else event


def _word(word: transcript_pb2.Word) -> Event:
    told = {"w": word.text, "start": _seconds(word.media_start), "end": _seconds(word.media_end), "p": _short(word.probability)}
    return told | {name: True for name in ("corrected", "glued") if getattr(word, name)}


def _statistics(stats: transcript_pb2.TranscriptStatistics) -> Event:
    told = {
        "words": stats.words,
        "words_per_minute": round(stats.words_per_minute, 1),
        "stable_latency": _latency(stats, "stable_latency"),
        "final_latency": _latency(stats, "final_latency"),
        "flicker": _short(stats.flicker),
        "real_time_factor": _short(stats.real_time_factor),
        "words_refused": dict(sorted(stats.words_refused.items())),
    }
    return {"text": _in_words(told)} | told


def _latency(stats: transcript_pb2.TranscriptStatistics, name: Literal["stable_latency", "final_latency"]) -> dict[str, float] | None:
    if not stats.HasField(name):
        return None
    latency: transcript_pb2.WordLatency = getattr(stats, name)
    return {"mean": round(latency.mean_s, 3), "p95": round(latency.p95_s, 3)}


def _in_words(told: Event) -> str:
    """What the statistics tell, for people."""
    # Without the count of words, which is that of one transcriber: one that was started again has not counted all.
    parts = []
    for name, what in (("stable_latency", "words promised"), ("final_latency", "words settled")):
        if latency := told[name]:
            parts.append(f"{what} {latency['mean']:.1f} s after they were said (95 of 100 within {latency['p95']:.1f} s)")
    parts.append(f"{told['flicker'] * 100:.0f} words taken back for every 100")
    parts.append(f"{told['real_time_factor']:.2f} s of computing for each second of sound")
    if refused := sum(told["words_refused"].values()):
        parts.append(f"{refused} {'word' if refused == 1 else 'words'} refused")
    return ", ".join(parts)


def _keyframe(frame: scene_pb2.Keyframe) -> Event:
    return {"reason": reason(frame), "score": _short(frame.score), "scene": frame.scene_id}


def reason(frame: scene_pb2.Keyframe) -> str:
    """The reason of a keyframe as users see it, such as "cut"."""
    return scene_pb2.KeyframeReason.Name(frame.reason).removeprefix("KEYFRAME_REASON_").lower()


def action(verdict: safety_pb2.Verdict) -> str:
    """The action of a verdict as users see it, such as "allow"; "unscored" where nothing could judge, so that nothing passed."""
    if verdict.action == safety_pb2.Action.ACTION_UNSPECIFIED:
        return "unscored"
    return safety_pb2.Action.Name(verdict.action).removeprefix("ACTION_").lower()


def scene(caption: scene_pb2.SceneCaption) -> Event:
    """A described scene, without what depends on when it was told."""
    return {
        "id": caption.id,
        "stream": caption.stream_id,
        "media_start": _seconds(caption.media_start),
        "media_end": _seconds(caption.media_end),
        "text": caption.text,
        "on_screen_text": list(caption.on_screen_text),
        "keyframes": [{"id": frame.id, "media_start": _seconds(frame.media_time)} | _keyframe(frame) for frame in caption.keyframes],
        "model": caption.model,
        "revision": caption.revision,
        "detail": caption.detail,
        "objects": list(caption.objects),
        "actions": [{"what": each.what, "start": _seconds(each.media_start), "end": _seconds(each.media_end)} for each in caption.actions],
        "people": caption.people if caption.HasField("people") else None,
        "seen": [_seen(each) for each in caption.seen],
        "searched": list(caption.searched),
        "camera": caption.camera,
        "confidence": _short(caption.confidence) if caption.HasField("confidence") else None,
        "made_by": {
            "model_revision": caption.making.model_revision,
            "adapter": caption.making.adapter,
            "prompt_version": caption.making.prompt_version,
            "remark": caption.making.remark,
        },
        "extended_by": list(caption.extended_by),
    }


def _verdict(item: Any, kind: str, start: Duration, end: Duration, emitted_s: float) -> Event:
    verdict: safety_pb2.Verdict = item.verdict
    return _base("verdict", item, start, end, emitted_s) | {
        "id": f"verdict-{item.id}",
        "of": item.id,
        "kind": kind,
        "action": action(verdict),
        "scores": {score.policy: _short(score.probability) for score in verdict.scores},
        "text": verdict.cause,
        "model": verdict.model,
        "unscored": list(verdict.unscored),
        "failed": list(verdict.failed),
        "policy_version": verdict.policy_version,
        "redactions": [_redaction(redaction) for redaction in verdict.redactions],
    }


def _redaction(redaction: safety_pb2.Redaction) -> Event:
    known = redaction.HasField("media_start")
    return {
        "policy": redaction.policy,
        "start": redaction.start,
        "end": redaction.end,
        "media_start": _seconds(redaction.media_start) if known else None,
        "media_end": _seconds(redaction.media_end) if known else None,
    }


def _seconds(duration: Duration) -> float:
    return round(MediaTime.from_proto(duration).seconds, 6)


def _seen(each: scene_pb2.SeenObject) -> Event:
    """A thing in a keyframe; its box as left, top, right and bottom, parts of the picture's sides."""
    return {
        "keyframe": each.keyframe_id,
        "media_start": _seconds(each.media_time),
        "label": each.label,
        "score": _short(each.score),
        "box": [_short(side) for side in (each.left, each.top, each.right, each.bottom)],
        "colour": each.colour,
        "rival": each.rival,
    }


def _short(number: float) -> float:
    return round(number, 4)
