"""What the memory knows beside moments: the streams, their pictures, and what was judged."""

from watchword.v1.safety_pb2 import Verdict

from pipeline.memory.database import Session
from pipeline.memory.searching import bounds
from pipeline.memory.store import Age, Facts, Judgement, Picture, Span, StreamState
from pipeline.timeline import MediaTime

STREAMS = """
SELECT s.stream, s.first_seen, s.latest_ns, s.ended, s.moments, s.dropped, s.pictures, s.started_at, s.width, s.height,
    (SELECT l.language FROM languages l WHERE l.stream = s.no AND l.spoken_ns > 0 ORDER BY l.spoken_ns DESC, l.language LIMIT 1)
FROM streams s
"""
PICTURES = """
SELECT p.id, p.at_ns, p.scene, p.width, p.height, p.jpeg, p.score FROM pictures p JOIN streams s ON s.no = p.stream
WHERE s.stream = :stream AND p.at_ns >= :after AND p.at_ns < :before ORDER BY p.at_ns, p.id
"""
JUDGEMENTS = """
SELECT j.item, j.kind, j.start_ns, j.end_ns, j.verdict FROM judgements j JOIN streams s ON s.no = j.stream
WHERE s.stream = :stream AND j.start_ns < :before AND (j.end_ns > :after OR j.start_ns >= :after)
ORDER BY j.start_ns, j.item LIMIT :limit
"""


def stream(db: Session, stream_id: str) -> StreamState | None:
    """See `SceneStore.stream`."""
    rows = db.rows(f"{STREAMS} WHERE s.stream = :stream", {"stream": stream_id})
    return _state(rows[0]) if rows else None


def ages(db: Session) -> list[Age]:
    """Of all streams."""
    return [Age(name, began_at) for name, began_at in db.rows("SELECT stream, coalesce(started_at, first_seen) FROM streams")]


def pictures(db: Session, stream_id: str, span: Span, limit: int) -> list[Picture]:
    """See `SceneStore.pictures`."""
    values = {"stream": stream_id, **bounds(span)}
    times = [
        row[:2] for row in db.rows(PICTURES.replace("p.id, p.at_ns, p.scene, p.width, p.height, p.jpeg, p.score", "p.id, p.at_ns"), values)
    ]
    chosen = times if len(times) <= limit else [times[index * len(times) // limit] for index in range(limit)]
    found = []
    for name, at in chosen:
        rows = db.rows(PICTURES, {"stream": stream_id, "after": at, "before": at + 1})
        found += [_picture(stream_id, row) for row in rows if row[0] == name]
    return found


def judgements(db: Session, stream_id: str, span: Span, limit: int) -> list[Judgement]:
    """See `SceneStore.judgements`."""
    rows = db.rows(JUDGEMENTS, {"stream": stream_id, "limit": limit, **bounds(span)})
    return [
        Judgement(stream_id, item, kind, MediaTime(start), MediaTime(end), Verdict.FromString(verdict))
        for item, kind, start, end, verdict in rows
    ]


def _picture(stream_id: str, row: tuple[str, int, str, int, int, bytes, float]) -> Picture:
    name, at, scene, width, height, jpeg, score = row
    return Picture(stream_id, name, MediaTime(at), scene, width, height, jpeg, score)


def _state(row: tuple[object, ...]) -> StreamState:
    stream_id, first_seen, latest, ended, moments, dropped, pictures, started_at, width, height, language = row
    facts = Facts(started_at, language or "", width, height)  # type: ignore[arg-type]
    return StreamState(stream_id, first_seen, MediaTime(latest), bool(ended), moments, dropped, facts, pictures)  # type: ignore[arg-type]
