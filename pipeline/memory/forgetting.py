"""What leaves the memory: on request, as too old, or as too much; nothing that was made of it stays."""

from dataclasses import dataclass

from pipeline.memory.database import Session
from pipeline.memory.filling import FURTHEST, WORK, drop_moments, drop_summaries, lock, stretches
from pipeline.memory.searching import IN_SPAN, bounds
from pipeline.memory.store import EVERYTHING, Forgotten, Kind, Span

TABLES = ("pictures", "judgements", "sources", "languages", "summary_work")
"""What holds rows of a stream by its number, beside its moments."""
FRAMES = "DELETE FROM audit_frames WHERE stream = (SELECT stream FROM streams WHERE no = :no)"
"""The keyframes that are kept for review go with the rest; the log's own rows stay."""
AT_ONCE = 1000
"""The most that one call drops as too much; more goes with the next calls."""
FORGOTTEN = "INSERT INTO forgotten (stream, start_ns, end_ns, at) VALUES (:stream, :start, :end, :now)"
SPARE = 100
"""What is too much goes together with a hundredth of the limit, so that not every call has to look for what is oldest."""
OLDEST = "SELECT start_ns, id FROM moments WHERE stream = :no AND kind = :kind ORDER BY start_ns, source, part LIMIT :many"
"""Of one kind: that is the order of an index."""
KINDS = ", ".join(f"'{kind.value}'" for kind in Kind)
COUNTED_KINDS = tuple(kind for kind in Kind if kind is not Kind.SUMMARY)
"""What the limit is of: summaries are made of it and go with it."""
COUNTED = """
UPDATE streams SET moments = moments - :moments, pictures = pictures - :pictures, dropped = dropped + :dropped WHERE no = :no
"""
ENDED_TOO_MANY = "SELECT no FROM streams WHERE ended = 1 ORDER BY first_seen DESC, stream DESC LIMIT 100 OFFSET :most"


@dataclass(frozen=True)
class Limits:
    """How much is kept."""

    moments: int
    """Of one stream, as of `pictures`; up to a hundredth fewer are kept."""
    pictures: int
    ended: int
    """Of streams that have ended."""


def forget(db: Session, stream_id: str, span: Span, *, now: float) -> Forgotten | None:
    """Remove what overlaps the span, and remember that it was; `None` where the stream is not known."""
    locked = lock(db, stream_id)
    if locked is None:
        return None
    no, edges = locked[0], bounds(span)
    db.run(f"{FRAMES} AND at_ns >= :after AND at_ns < :before", {"no": no, **edges})
    db.run(FORGOTTEN, {"stream": stream_id, "start": edges["after"], "end": edges["before"], "now": now})
    return drop_stream(db, no) if span == EVERYTHING else _drop_span(db, no, edges)


def drop_stream(db: Session, no: int) -> Forgotten:
    """Remove all of a stream."""
    of_stream = {"no": no}
    summaries = db.rows("SELECT count(*) FROM moments WHERE stream = :no AND kind = 'summary'", of_stream)[0][0]
    moments = drop_moments(db, "stream = :no", of_stream)
    gone = {table: db.run(f"DELETE FROM {table} WHERE stream = :no", of_stream) for table in TABLES}
    db.run(FRAMES, of_stream)
    db.run("DELETE FROM streams WHERE no = :no", of_stream)
    return Forgotten(moments - summaries, summaries, gone["pictures"], gone["judgements"])


def _drop_span(db: Session, no: int, edges: dict[str, int]) -> Forgotten:
    values = {"no": no, **edges}
    start, end = db.rows(
        f"SELECT min(m.start_ns), max(m.end_ns) FROM sources m WHERE m.stream = :no AND m.summary = 0 AND {IN_SPAN}", values
    )[0]
    summaries = drop_summaries(db, no, start, end) if start is not None else 0
    # An item is known by its source: one sentence of a segment, or one line of a scene, takes what else the item said with it.
    items = f"SELECT m.source FROM sources m WHERE m.stream = :no AND m.summary = 0 AND {IN_SPAN}"
    languages = db.rows(
        f"SELECT m.language, sum(m.end_ns - m.start_ns) FROM sources m WHERE m.stream = :no AND {IN_SPAN} GROUP BY m.language", values
    )
    for language, spoken in languages:
        db.run(
            "UPDATE languages SET spoken_ns = spoken_ns - :spoken WHERE stream = :no AND language = :language",
            {"no": no, "language": language, "spoken": spoken},
        )
    moments = drop_moments(db, f"stream = :no AND source IN ({items})", values)
    pictures = db.run("DELETE FROM pictures WHERE stream = :no AND at_ns >= :after AND at_ns < :before", values)
    judgements = db.run(
        "DELETE FROM judgements WHERE stream = :no AND start_ns < :before AND (end_ns > :after OR start_ns >= :after)", values
    )
    db.run(f"DELETE FROM sources WHERE stream = :no AND source IN ({items})", values)
    db.run(COUNTED, {"no": no, "moments": moments, "pictures": pictures, "dropped": 0})
    if start is not None:
        mark(db, no, start, end)
    return Forgotten(moments, summaries, pictures, judgements)


def mark(db: Session, no: int, start: int, end: int) -> None:
    """The summaries of these times have to be made again."""
    db.run_many(WORK, [{"no": no, "level": level, "number": number} for level, number in sorted(stretches(start, end))])


def expire(db: Session, stream_id: str, before: int, limit: int) -> int | None:
    """See `SqlStore.expire`."""
    locked = lock(db, stream_id)
    if locked is None:
        return None
    no, ended, latest = locked
    values = {"no": no, "before": before, "limit": limit}
    db.run("DELETE FROM judgements WHERE stream = :no AND end_ns <= :before", values)
    db.run(f"{FRAMES} AND at_ns <= :before", values)
    old = (
        "SELECT source, start_ns, end_ns FROM sources WHERE stream = :no AND summary = 0 AND end_ns <= :before ORDER BY end_ns LIMIT :limit"
    )
    found = db.rows(old, values)
    if not found:
        if ended and latest <= before:
            drop_stream(db, no)
        return None
    start, end = min(row[1] for row in found), max(row[2] for row in found)
    moments = pictures = 0
    for source, *_ in found:
        own = {"no": no, "source": source}
        moments += drop_moments(db, "stream = :no AND source = :source", own)
        pictures += db.run("DELETE FROM pictures WHERE stream = :no AND id = :source", own)
        db.run("DELETE FROM sources WHERE stream = :no AND source = :source", own)
    drop_summaries(db, no, start, end)
    mark(db, no, start, end)
    floor = "UPDATE streams SET floor_ns = :floor WHERE no = :no AND (floor_ns IS NULL OR floor_ns < :floor)"
    db.run(floor, {"no": no, "floor": max(row[1] for row in found)})
    db.run(COUNTED, {"no": no, "moments": moments, "pictures": pictures, "dropped": 0})
    return moments


def drop_oldest(db: Session, no: int, limits: Limits) -> int:
    """Remove what a stream has too many of, its oldest; says how many moments that were."""
    moments, pictures = db.rows("SELECT moments, pictures FROM streams WHERE no = :no", {"no": no})[0]
    if many := _too_many(pictures, limits.pictures):
        moments -= _drop_pictures(db, no, many)
    many = _too_many(moments, limits.moments)
    return _drop_moments(db, no, many) if many else 0


def _too_many(there: int, limit: int) -> int:
    return min(there - limit + limit // SPARE, AT_ONCE) if there > limit else 0


def _drop_pictures(db: Session, no: int, many: int) -> int:
    """Remove the oldest thumbnails with what they look like, and the keyframes for review of their time; says how many moments went."""
    rows = db.rows("SELECT at_ns, id FROM pictures WHERE stream = :no ORDER BY at_ns, id LIMIT :many", {"no": no, "many": many})
    named = [{"no": no, "id": name} for _, name in rows]
    moments = sum(drop_moments(db, "stream = :no AND source = :id", each) for each in named)
    db.run_many("DELETE FROM judgements WHERE stream = :no AND item = :id", named)
    db.run_many("DELETE FROM sources WHERE stream = :no AND source = :id", named)
    db.run_many("DELETE FROM pictures WHERE stream = :no AND id = :id", named)
    db.run(f"{FRAMES} AND at_ns <= :newest", {"no": no, "newest": rows[-1][0]})
    db.run(COUNTED, {"no": no, "moments": moments, "pictures": len(rows), "dropped": 0})
    return moments


def _drop_moments(db: Session, no: int, many: int) -> int:
    found = [row for kind in COUNTED_KINDS for row in db.rows(OLDEST, {"no": no, "kind": kind.value, "many": many})]
    if not found:
        return 0
    oldest = sorted(found)[:many]
    gone = drop_moments(db, f"id IN ({', '.join(str(row[1]) for row in oldest)})", {})
    floor = oldest[-1][0]
    drop_summaries(db, no, -FURTHEST, floor)
    # What was dropped is not taken in again when the topic is read again, and needs no row to say so.
    db.run("UPDATE streams SET floor_ns = :floor WHERE no = :no", {"no": no, "floor": floor})
    kept = f"SELECT source FROM moments WHERE stream = :no AND kind IN ({KINDS}) AND start_ns <= :floor"
    shown = "SELECT id FROM pictures WHERE stream = :no AND at_ns <= :floor"
    # An item that lasts longer stays known: the rest of it may still be withheld. What was withheld is known by its verdict alone.
    for table, name in (("sources", "source"), ("judgements", "item")):
        gone_with = f"end_ns <= :floor AND {name} NOT IN ({kept}) AND {name} NOT IN ({shown})"
        db.run(f"DELETE FROM {table} WHERE stream = :no AND {gone_with}", {"no": no, "floor": floor})
    db.run(COUNTED, {"no": no, "moments": gone, "pictures": 0, "dropped": gone})
    return gone


def drop_ended(db: Session, limits: Limits) -> int:
    """Remove the streams that ended first, where there are too many; says how many moments they had."""
    return sum(drop_stream(db, no).moments for (no,) in db.rows(ENDED_TOO_MANY, {"most": limits.ended}))
