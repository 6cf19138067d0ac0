"""Alerts of standing queries as they are told to others: one message, and one JSON of it for web addresses and browsers."""

from typing import Any

from watchword.v1.qa_service_pb2 import StandResponse

from pipeline.qa.answer import ON_THE_WIRE, evidence_of
from pipeline.qa.standing import Alert
from pipeline.timeline import MediaTime

_NAMES = {wire: kind.value for kind, wire in ON_THE_WIRE.items()}


def to_proto(alert: Alert) -> StandResponse:
    """An alert as a call tells it."""
    last = alert.hits[-1]
    return StandResponse(
        id=alert.id,
        query=alert.standing.query,
        stream_id=last.moment.stream_id,
        score=last.score,
        threshold=alert.standing.threshold,
        hits=len(alert.hits),
        of=alert.of,
        reason=alert.reason,
        evidence=[evidence_of(hit.moment, hit.score) for hit in alert.hits],
    )


def as_json(alert: StandResponse) -> dict[str, Any]:
    """An alert as HTTP tells it; times in seconds of media time."""
    return {
        "id": alert.id,
        "query": alert.query,
        "stream": alert.stream_id,
        "score": round(alert.score, 4),
        "threshold": round(alert.threshold, 4),
        "hits": alert.hits,
        "of": alert.of,
        "reason": alert.reason,
        "evidence": [
            {
                "kind": _NAMES[evidence.kind],
                "source": evidence.source_id,
                "text": evidence.text,
                "media_start": MediaTime.from_proto(evidence.media_start).seconds,
                "media_end": MediaTime.from_proto(evidence.media_end).seconds,
                "score": round(evidence.score, 4),
            }
            for evidence in alert.evidence
        ],
    }
