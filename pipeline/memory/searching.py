"""What is asked of the memory: by words, by meaning, by time, by id.

A search by meaning looks at the 48-byte code of every moment in scope, and at the vectors of the nearest few hundred.
"""

import json
from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.memory import codes
from pipeline.memory.database import Database, Row, Session, Values
from pipeline.memory.filling import FURTHEST, STREAM_BITS, WHOLE
from pipeline.memory.store import DIMENSIONS, EVERYTHING, EVIDENCE, Found, Hits, Kind, Level, Moment, Scope, Span, Vectors, Word
from pipeline.timeline import MediaTime

RESCORED = 32
"""For each moment that a search by meaning is to give, the vectors of so many are looked at."""
FEWEST_RESCORED = 512

COLUMNS = "s.stream, m.source, m.kind, m.part, m.text, m.start_ns, m.end_ns, m.model, m.cites"
MOMENTS = f"SELECT {COLUMNS} FROM moments m JOIN streams s ON s.no = m.stream"
IN_SPAN = "m.start_ns < :before AND (m.end_ns > :after OR m.start_ns >= :after)"

OF_EVIDENCE = f"m.kind NOT IN ({', '.join(repr(kind.value) for kind in Kind if kind not in EVIDENCE)})"


def bounds(span: Span) -> dict[str, int]:
    """The values of `IN_SPAN`."""
    return {"after": _edge(span.start, -FURTHEST), "before": _edge(span.end, FURTHEST)}


def _edge(time: MediaTime | None, unbounded: int) -> int:
    """Nanoseconds, within what a database can hold: a question may name any time, and no stream is 292 years long."""
    return unbounded if time is None else max(1 - FURTHEST, min(time.nanos, FURTHEST - 1))


def search(db: Session, database: Database, scope: Scope, words: str, vector: Vectors, limit: int) -> Hits:
    """See `SceneStore.search`; `words` are what the database matches, or empty."""
    ranges = _ranges(db, scope)
    worded = _by_words(db, database, scope, ranges, words, limit) if words else []
    near = _by_code(db, database, scope, ranges, vector, limit)
    cosines = database.cosines(db, sorted({*worded, *near}), vector)
    moments = _by_number(db, {*worded, *_best(near, cosines, limit * 2)})
    nearest = sorted((each for each in near if each in moments), key=lambda each: (-cosines[each], *_order(moments[each])))[:limit]

    def found(numbers: Sequence[int]) -> tuple[Found, ...]:
        return tuple(Found(moments[each], cosines[each]) for each in numbers)

    return Hits(found(worded), found(nearest))


def between(db: Session, stream_id: str, kind: Kind, span: Span, limit: int, *, last: bool) -> list[Moment]:
    """See `SceneStore.between`."""
    order = "m.start_ns DESC, m.source DESC, m.part DESC" if last else "m.start_ns, m.source, m.part"
    query = f"{MOMENTS} WHERE s.stream = :stream AND m.kind = :kind AND {IN_SPAN} ORDER BY {order} LIMIT :limit"
    rows = db.rows(query, {"stream": stream_id, "kind": kind.value, "limit": limit, **bounds(span)})
    return [moment(row) for row in (reversed(rows) if last else rows)]


def summaries(db: Session, stream_id: str, level: Level, span: Span, limit: int) -> list[Moment]:
    """See `SceneStore.summaries`."""
    own = "s.stream = :stream AND m.kind = 'summary' AND substr(m.source, 1, length(:prefix)) = :prefix"
    query = f"{MOMENTS} WHERE {own} AND {IN_SPAN} ORDER BY m.start_ns, m.source, m.part LIMIT :limit"
    values = {"stream": stream_id, "prefix": f"summary-{level.value}-", "limit": limit, **bounds(span)}
    return [moment(row) for row in db.rows(query, values)]


def neighbours(db: Session, around: Moment, before: int, after: int) -> list[Moment]:
    """See `SceneStore.neighbours`."""
    here = {
        "stream": around.stream_id,
        "kind": around.kind.value,
        "start": around.start.nanos,
        "source": around.source_id,
        "part": around.part,
    }
    own = f"{MOMENTS} WHERE s.stream = :stream AND m.kind = :kind AND (m.start_ns, m.source, m.part)"
    earlier = f"{own} < (:start, :source, :part) ORDER BY m.start_ns DESC, m.source DESC, m.part DESC LIMIT :limit"
    later = f"{own} >= (:start, :source, :part) ORDER BY m.start_ns, m.source, m.part LIMIT :limit"
    rows = [*reversed(db.rows(earlier, {**here, "limit": before})), *db.rows(later, {**here, "limit": after + 1})]
    return [moment(row) for row in rows]


def vectors_of(db: Session, database: Database, moments: Sequence[Moment]) -> Vectors:
    """See `SceneStore.vectors`."""
    stored: dict[tuple[str, str], Vectors] = {}
    for stream_id in {each.stream_id for each in moments}:
        sources = sorted({each.source_id for each in moments if each.stream_id == stream_id})
        query = f"""
            SELECT m.source, m.kind, m.part, v.vector FROM moments m JOIN streams s ON s.no = m.stream JOIN vectors v ON v.id = m.id
            WHERE s.stream = :stream AND m.source IN {database.listed}
        """
        for source, kind, part, vector in db.rows(query, {"stream": stream_id, "names": json.dumps(sources)}):
            stored[stream_id, f"{source}/{kind}/{part}"] = np.frombuffer(vector, "<f4")
    gone = np.zeros(DIMENSIONS, np.float32)
    return np.array([stored.get((each.stream_id, each.id), gone) for each in moments], np.float32).reshape(-1, DIMENSIONS)


def words_of(db: Session, database: Database, stream_id: str, ids: Sequence[str]) -> dict[str, tuple[Word, ...]]:
    """See `SceneStore.words`."""
    sources = sorted({name.rsplit("/", 2)[0] for name in ids})
    query = f"""
        SELECT m.source, m.kind, m.part, m.said FROM moments m JOIN streams s ON s.no = m.stream
        WHERE s.stream = :stream AND m.said <> '' AND m.source IN {database.listed}
    """
    found = {}
    for source, kind, part, said in db.rows(query, {"stream": stream_id, "names": json.dumps(sources)}):
        found[f"{source}/{kind}/{part}"] = tuple(Word(text, MediaTime(start), MediaTime(end)) for text, start, end in json.loads(said))
    return {name: found[name] for name in ids if name in found}


def count(db: Session, scope: Scope) -> dict[Kind, int]:
    """See `SceneStore.count`."""
    counts = dict.fromkeys(sorted(scope.kinds, key=lambda kind: kind.value), 0)
    for low, high in _ranges(db, scope):
        where = f"m.id >= :low AND m.id < :high AND {_where(scope)}"
        query = f"SELECT m.kind, count(*) FROM moments m WHERE {where} GROUP BY m.kind"
        for kind, number in db.rows(query, {"low": low, "high": high, **bounds(scope.span)}):
            counts[Kind(kind)] += number
    return counts


def moment(row: Row) -> Moment:
    """The moment of a row of `COLUMNS`."""
    stream_id, source_id, kind, part, text, start, end, model, cites = row
    cited = tuple(json.loads(cites)) if cites else ()
    return Moment(stream_id, source_id, Kind(kind), part, text, MediaTime(start), MediaTime(end), model, cited)


def _ranges(db: Session, scope: Scope) -> list[tuple[int, int]]:
    """The ranges of ids that the scope's streams have."""
    if not scope.streams:
        return [WHOLE]
    found = [db.rows("SELECT no FROM streams WHERE stream = :stream", {"stream": each}) for each in dict.fromkeys(scope.streams)]
    return [(rows[0][0] << STREAM_BITS, (rows[0][0] + 1) << STREAM_BITS) for rows in found if rows]


def _where(scope: Scope) -> str:
    """What must hold of a moment, said in as few words as possible: it is looked at for every moment of a stream."""
    kinds = ", ".join(f"'{kind.value}'" for kind in sorted(scope.kinds, key=lambda kind: kind.value))
    of_kind = OF_EVIDENCE if scope.kinds == EVIDENCE else f"m.kind IN ({kinds or 'NULL'})"
    return of_kind if scope.span == EVERYTHING else f"{of_kind} AND {IN_SPAN}"


def _by_words(db: Session, database: Database, scope: Scope, ranges: Sequence[tuple[int, int]], words: str, limit: int) -> list[int]:
    rows: list[Row] = []
    for low, high in ranges:
        values: Values = {"low": low, "high": high, **bounds(scope.span)}
        rows += database.rank(db, words, _where(scope), values, limit)
    return [row[0] for row in sorted(rows, key=lambda row: row[1:])[:limit]]


def _by_code(db: Session, database: Database, scope: Scope, ranges: Sequence[tuple[int, int]], vector: Vectors, limit: int) -> list[int]:
    most = max(FEWEST_RESCORED, RESCORED * limit)
    plain = codes.encode(vector[None])[0]
    code = database.code(plain)
    if not scope.streams and scope.span == EVERYTHING and (ids := database.nearest(db, plain, most)) is not None:
        known = db.rows(f"SELECT m.id FROM moments m WHERE m.id IN {_listed(ids)} AND {_where(scope)}")
        if len(known) >= most // 2:
            return [row[0] for row in known]
    query = f"""
        SELECT m.id, {database.hamming} AS apart, m.start_ns FROM moments m
        WHERE m.id >= :low AND m.id < :high AND {_where(scope)} ORDER BY apart, m.start_ns, m.id LIMIT :limit
    """
    rows: list[Row] = []
    for low, high in ranges:
        rows += db.rows(query, {"code": code, "low": low, "high": high, "limit": most, **bounds(scope.span)})
    return [row[0] for row in sorted(rows, key=lambda row: (row[1], row[2], row[0]))[:most]]


def _best(numbers: Sequence[int], cosines: dict[int, float], most: int) -> list[int]:
    return sorted(numbers, key=lambda each: -cosines[each])[:most]


def _by_number(db: Session, numbers: set[int]) -> dict[int, Moment]:
    if not numbers:
        return {}
    rows = db.rows(f"SELECT m.id, {COLUMNS} FROM moments m JOIN streams s ON s.no = m.stream WHERE m.id IN {_listed(sorted(numbers))}")
    return {row[0]: moment(row[1:]) for row in rows}


def _listed(numbers: Iterable[int]) -> str:
    return f"({', '.join(map(str, numbers))})"


def _order(each: Moment) -> tuple[int, str, str, int]:
    return each.start.nanos, each.kind.value, each.source_id, each.part
