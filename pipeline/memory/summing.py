"""Which stretches have to be summarised, and how their summaries are stored: `pipeline.memory.summarise` makes them."""

import json
from collections.abc import Sequence

from pipeline.memory import filling
from pipeline.memory.database import Database, Session
from pipeline.memory.filling import WINDOW_NS, WINDOWS_OF_HOUR, WORK
from pipeline.memory.store import Entry, Work
from pipeline.timeline import NANOS

LATE_NS = 15 * NANOS
"""So long after its end a stretch is taken to be complete: speech is cleared after pictures. What comes later still, changes it."""
CLAIM_S = 60.0
"""A claim that is older was made by somebody who is gone."""

WIDTH = f"(CASE WHEN w.level = 0 THEN {WINDOW_NS} ELSE {WINDOW_NS * WINDOWS_OF_HOUR} END)"
DUE = f"""
SELECT w.stream, s.stream, w.level, w.number, w.generation FROM summary_work w JOIN streams s ON s.no = w.stream
WHERE w.claimed_at < :stale AND (s.ended = 1 OR s.latest_ns >= (w.number + 1) * {WIDTH} + {LATE_NS})
ORDER BY w.stream, w.level, w.number LIMIT 1
"""
THIS = "stream = :no AND level = :level AND number = :number AND generation = :generation"


def claim(db: Session, now: float) -> Work | None:
    """See `SqlStore.claim`."""
    for no, stream_id, level, number, generation in db.rows(DUE, {"stale": now - CLAIM_S}):
        this = {"no": no, "level": level, "number": number, "generation": generation, "now": now, "stale": now - CLAIM_S}
        if db.run(f"UPDATE summary_work SET claimed_at = :now WHERE {THIS} AND claimed_at < :stale", this):
            return Work(stream_id, level, number, generation)
    return None


def store(db: Session, database: Database, work: Work, entries: Sequence[Entry]) -> bool:
    """See `SqlStore.summarised`."""
    locked = filling.lock(db, work.stream_id)
    if locked is None:
        return False
    no = locked[0]
    this = {"no": no, "level": work.level, "number": work.number, "generation": work.generation}
    if not db.run(f"DELETE FROM summary_work WHERE {THIS}", this):
        return False
    width = WINDOW_NS * (WINDOWS_OF_HOUR if work.level else 1)
    levels = "substr(source, 1, 11) = 'summary-1h-'" if work.level else "substr(source, 1, 11) <> 'summary-1h-'"
    of_stretch = f"stream = :no AND summary = 1 AND {levels} AND start_ns >= :start AND start_ns < :end AND source NOT IN {database.listed}"
    values = {
        "no": no,
        "start": work.number * width,
        "end": (work.number + 1) * width,
        "names": json.dumps([entry.source_id for entry in entries]),
    }
    filling.drop_moments(db, f"stream = :no AND source IN (SELECT source FROM sources WHERE {of_stretch})", values)
    db.run(f"DELETE FROM sources WHERE {of_stretch}", values)
    filling.put_summaries(db, database, work.stream_id, entries)
    if work.level == 0:
        db.run(WORK, {"no": no, "level": 1, "number": work.number // WINDOWS_OF_HOUR})
    return True
