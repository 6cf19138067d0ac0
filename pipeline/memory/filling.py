"""What goes into the memory: entries are stored by the identity of their source, so that a repeat changes nothing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.memory import codes
from pipeline.memory.database import Database, Session, Values
from pipeline.memory.store import Entry, Facts, Judgement, Kind, Moment, Picture
from pipeline.timeline import NANOS, MediaTime

STREAM_BITS = 40
"""A moment's id is its stream's number, then this many bits that count the stream's moments: a stream is a range of ids."""
WINDOW_NS = 300 * NANOS
"""The stretch for which a summary is made: five minutes."""
WINDOWS_OF_HOUR = 12
MAX_WINDOWS = 288
"""Of one entry; a scene longer than a day is summarised in its first day only."""
FURTHEST = 2**63 - 1
WHOLE = (0, FURTHEST)
"""The range of all ids, up to which it does not reach."""
_EVERYTHING = (-FURTHEST, FURTHEST)

SEE = """
INSERT INTO streams (stream, first_seen, latest_ns) VALUES (:stream, :now, :latest)
ON CONFLICT (stream) DO UPDATE SET
    latest_ns = CASE WHEN streams.latest_ns > excluded.latest_ns THEN streams.latest_ns ELSE excluded.latest_ns END, ended = 0
RETURNING no, handed_out, floor_ns
"""
FACTS = """
UPDATE streams SET started_at = coalesce(:started_at, started_at),
    width = CASE WHEN :width > 0 THEN :width ELSE width END, height = CASE WHEN :height > 0 THEN :height ELSE height END
WHERE no = :no
"""
COUNTED = """
UPDATE streams SET handed_out = :handed_out, moments = moments + :moments, pictures = pictures + :pictures WHERE no = :no
"""
FORGOTTEN = "SELECT start_ns, end_ns FROM forgotten WHERE stream = :stream"
NEW_SOURCE = """
INSERT INTO sources (stream, source, revision, digest, start_ns, end_ns, language, summary)
VALUES (:no, :source, :revision, :digest, :start, :end, :language, :summary)
"""
NEW_MOMENT = """
INSERT INTO moments (id, stream, kind, start_ns, end_ns, code, source, part, text, model, said, cites, indexed)
VALUES (:id, :no, :kind, :start, :end, :code, :source, :part, :text, :model, :said, :cites, {indexed})
"""
NEW_VECTOR = "INSERT INTO vectors (id, vector) VALUES (:id, :vector)"
NEW_PICTURE = """
INSERT INTO pictures (stream, id, at_ns, scene, width, height, score, jpeg)
VALUES (:no, :id, :at, :scene, :width, :height, :score, :jpeg)
"""
JUDGED = """
INSERT INTO judgements (stream, item, kind, start_ns, end_ns, verdict) VALUES (:no, :item, :kind, :start, :end, :verdict)
ON CONFLICT (stream, item) DO UPDATE
SET kind = excluded.kind, start_ns = excluded.start_ns, end_ns = excluded.end_ns, verdict = excluded.verdict
"""
SPOKEN = """
INSERT INTO languages (stream, language, spoken_ns) VALUES (:no, :language, :spoken)
ON CONFLICT (stream, language) DO UPDATE SET spoken_ns = languages.spoken_ns + excluded.spoken_ns
"""
WORK = """
INSERT INTO summary_work (stream, level, number, generation) VALUES (:no, :level, :number, 1)
ON CONFLICT (stream, level, number) DO UPDATE SET generation = summary_work.generation + 1, claimed_at = 0
"""


@dataclass
class _Stream:
    """A stream while entries of it are stored; what is new is gathered and written together."""

    no: int
    handed_out: int
    """How many ids of moments were given to it."""
    floor: int | None
    """What starts at or before this was dropped as too old."""
    forgotten: list[tuple[int, int]]
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Statement by statement, what it is run with."""
    moments: int = 0
    """How many more there are than before, as of `pictures`."""
    pictures: int = 0
    work: set[tuple[int, int]] = field(default_factory=set)
    """Levels and numbers of the stretches whose summaries are no longer right."""

    def takes(self, start: int, end: int) -> bool:
        """Whether an item of these times is to be kept, or was forgotten or dropped."""
        kept = self.floor is None or start > self.floor
        return kept and not any(start < until and (end > since or start >= since) for since, until in self.forgotten)

    def add(self, statement: str, **values: Any) -> None:
        self.rows.setdefault(statement, []).append({"no": self.no, **values})

    def mark(self, start: int, end: int) -> None:
        """The summaries of these times have to be made again."""
        self.work |= stretches(start, end)

    def write(self, db: Session) -> None:
        for level, number in sorted(self.work):
            self.add(WORK, level=level, number=number)
        for statement, values in self.rows.items():
            db.run_many(statement, values)
        if self.rows:
            counted = {"no": self.no, "handed_out": self.handed_out, "moments": self.moments, "pictures": self.pictures}
            db.run(COUNTED, counted)


def stretches(start: int, end: int) -> set[tuple[int, int]]:
    """Level and number of each stretch that has something of these times."""
    first, last = start // WINDOW_NS, max(start, end - 1) // WINDOW_NS
    numbers = range(first, min(last, first + MAX_WINDOWS) + 1)
    return {(0, number) for number in numbers} | {(1, number // WINDOWS_OF_HOUR) for number in numbers}


def put_summaries(db: Session, database: Database, stream_id: str, entries: Sequence[Entry]) -> None:
    """Store summaries of a stream that is there; it has come no further by them."""
    for no, handed_out, floor in db.rows("SELECT no, handed_out, floor_ns FROM streams WHERE stream = :stream", {"stream": stream_id}):
        stream = _Stream(no, handed_out, floor, _forgotten(db, stream_id))
        _put(db, database, stream, {entry.source_id: entry for entry in entries})
        stream.write(db)


def kept_times(db: Session, stream_id: str, times: Sequence[MediaTime]) -> list[MediaTime]:
    """See `SceneStore.kept_times`."""
    for no, handed_out, floor in db.rows("SELECT no, handed_out, floor_ns FROM streams WHERE stream = :stream", {"stream": stream_id}):
        stream = _Stream(no, handed_out, floor, _forgotten(db, stream_id))
        return [time for time in times if stream.takes(time.nanos, time.nanos)]
    return []


def put_all(db: Session, database: Database, entries: Sequence[Entry], *, now: float) -> list[int]:
    """Store entries; gives the numbers of the streams that they belong to and that are kept."""
    streams: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        own = streams.setdefault(entry.stream_id, {})
        if entry.source_id not in own or entry.revision >= own[entry.source_id].revision:
            own[entry.source_id] = entry
    numbers = []
    for stream_id, own in sorted(streams.items()):
        stream = _see(db, stream_id, max(_latest(entry) for entry in own.values()), now)
        if stream is not None:
            _put(db, database, stream, own)
            stream.write(db)
            numbers.append(stream.no)
    return numbers


def see(db: Session, stream_id: str, latest: MediaTime, facts: Facts, *, now: float) -> int | None:
    """Take note of a stream and give its number; `None` where it was forgotten as a whole."""
    stream = _see(db, stream_id, latest.nanos, now)
    if stream is None:
        return None
    _note(db, stream.no, facts)
    return stream.no


def end(db: Session, stream_id: str, *, now: float) -> None:
    """Take note that a stream has ended."""
    stream = _see(db, stream_id, 0, now)
    if stream is not None:
        db.run("UPDATE streams SET ended = 1 WHERE no = :no", {"no": stream.no})


def remove(db: Session, database: Database, stream_id: str, source_id: str, judgement: Judgement | None, *, now: float) -> int:
    """Forget a source and keep the judgement; says how many moments it had."""
    stream = _see(db, stream_id, judgement.end.nanos if judgement else 0, now)
    if stream is None:
        return 0
    for known in _known(db, database, stream.no, [source_id]):
        _drop(db, stream, known)
    removed = -stream.moments
    if judgement is not None and stream.takes(judgement.start.nanos, judgement.end.nanos):
        _judge(stream, judgement)
    stream.write(db)
    return removed


def _see(db: Session, stream_id: str, latest: int, now: float) -> _Stream | None:
    if _EVERYTHING in _forgotten(db, stream_id):
        return None
    no, handed_out, floor = db.rows(SEE, {"stream": stream_id, "now": now, "latest": latest})[0]
    # Read again: where several processes write, only now is the stream's row this transaction's.
    forgotten = _forgotten(db, stream_id)
    if _EVERYTHING in forgotten:
        db.run("DELETE FROM streams WHERE no = :no", {"no": no})
        return None
    return _Stream(no, handed_out, floor, forgotten)


def _forgotten(db: Session, stream_id: str) -> list[tuple[int, int]]:
    return [(start, end) for start, end in db.rows(FORGOTTEN, {"stream": stream_id})]


def _note(db: Session, no: int, facts: Facts) -> None:
    if facts.started_at is not None or facts.width:
        db.run(FACTS, {"no": no, "started_at": facts.started_at, "width": facts.width, "height": facts.height})


def _put(db: Session, database: Database, stream: _Stream, entries: Mapping[str, Entry]) -> None:
    known = {source.name: source for source in _known(db, database, stream.no, list(entries))}
    for name, entry in entries.items():
        start, end = _times(entry)
        if not stream.takes(start, end):
            continue
        digest, before = _digest(entry), known.get(name)
        if before is not None:
            if entry.revision < before.revision or digest == before.digest:
                continue
            _drop(db, stream, before)
        _note(db, stream.no, entry.facts)
        _add(stream, database, entry, digest, start, end)


def _add(stream: _Stream, database: Database, entry: Entry, digest: str, start: int, end: int) -> None:
    summary = any(moment.kind is Kind.SUMMARY for moment in entry.moments)
    language = entry.facts.language
    stream.add(
        NEW_SOURCE,
        source=entry.source_id,
        revision=entry.revision,
        digest=digest,
        start=start,
        end=end,
        language=language,
        summary=int(summary),
    )
    if language:
        stream.add(SPOKEN, language=language, spoken=end - start)
    new_moment = NEW_MOMENT.format(indexed=database.words_of)
    for moment, vector, code in zip(entry.moments, entry.vectors, codes.encode(entry.vectors), strict=True):
        moment_id = (stream.no << STREAM_BITS) + stream.handed_out
        stream.handed_out += 1
        stream.add(new_moment, id=moment_id, code=database.code(code), indexed=database.indexed(moment.text), **_row(moment, entry))
        stream.rows.setdefault(NEW_VECTOR, []).append({"id": moment_id, "vector": database.vector(vector)})
    if not summary:
        stream.moments += len(entry.moments)
        if entry.moments:
            stream.mark(start, end)
    if entry.picture is not None:
        _show(stream, entry.picture)
    if entry.judgement is not None:
        _judge(stream, entry.judgement)


def _row(moment: Moment, entry: Entry) -> dict[str, Any]:
    said = entry.words.get(moment.id, ())
    return {
        "kind": moment.kind.value,
        "start": moment.start.nanos,
        "end": moment.end.nanos,
        "source": moment.source_id,
        "part": moment.part,
        "text": moment.text.replace("\0", "\ufffd"),  # PostgreSQL cannot hold a NUL
        "model": moment.model,
        "said": json.dumps([[word.text, word.start.nanos, word.end.nanos] for word in said], ensure_ascii=False) if said else "",
        "cites": json.dumps(moment.cites, ensure_ascii=False) if moment.cites else "",
    }


def _show(stream: _Stream, picture: Picture) -> None:
    stream.pictures += 1
    stream.add(
        NEW_PICTURE,
        id=picture.id,
        at=picture.at.nanos,
        scene=picture.scene_id,
        width=picture.width,
        height=picture.height,
        score=picture.score,
        jpeg=picture.jpeg,
    )


def _judge(stream: _Stream, judgement: Judgement) -> None:
    stream.add(
        JUDGED,
        item=judgement.item_id,
        kind=judgement.kind,
        start=judgement.start.nanos,
        end=judgement.end.nanos,
        verdict=judgement.verdict.SerializeToString(deterministic=True),
    )


@dataclass(frozen=True)
class _Source:
    """What is known of a stored source."""

    name: str
    revision: int
    digest: str
    start: int
    end: int
    language: str
    summary: int


def _known(db: Session, database: Database, no: int, names: Sequence[str]) -> list[_Source]:
    columns = "source, revision, digest, start_ns, end_ns, language, summary"
    query = f"SELECT {columns} FROM sources WHERE stream = :no AND source IN {database.listed}"
    return [_Source(*row) for row in db.rows(query, {"no": no, "names": json.dumps(names)})]


def _drop(db: Session, stream: _Stream, source: _Source) -> None:
    """Remove a source with all that belongs to it, and the summaries of its time, which are made again."""
    of_source = {"no": stream.no, "source": source.name}
    moments = drop_moments(db, "stream = :no AND source = :source", of_source)
    stream.pictures -= db.run("DELETE FROM pictures WHERE stream = :no AND id = :source", of_source)
    db.run("DELETE FROM judgements WHERE stream = :no AND item = :source", of_source)
    db.run("DELETE FROM sources WHERE stream = :no AND source = :source", of_source)
    if source.language:
        db.run(SPOKEN, {"no": stream.no, "language": source.language, "spoken": source.start - source.end})
    if not source.summary:
        stream.moments -= moments
        if moments:
            drop_summaries(db, stream.no, source.start, source.end)
            stream.mark(source.start, source.end)


def lock(db: Session, stream_id: str) -> tuple[int, bool, int] | None:
    """Keep others from storing anything of a stream until the transaction ends.

    Gives its number, whether it has ended and how far it came, in nanoseconds; `None` where it is not known.
    """
    rows = db.rows("UPDATE streams SET stream = stream WHERE stream = :stream RETURNING no, ended, latest_ns", {"stream": stream_id})
    return (rows[0][0], bool(rows[0][1]), rows[0][2]) if rows else None


def drop_moments(db: Session, which: str, values: Values) -> int:
    """Remove the moments of which a condition holds, with their vectors; says how many."""
    db.run(f"DELETE FROM vectors WHERE id IN (SELECT id FROM moments WHERE {which})", values)
    return db.run(f"DELETE FROM moments WHERE {which}", values)


def drop_summaries(db: Session, no: int, start: int, end: int) -> int:
    """Remove the summaries that may cite something of these times; says how many lines they had."""
    times = {"no": no, "start": start, "end": end}
    made = "stream = :no AND summary = 1 AND start_ns <= :end AND end_ns >= :start"
    gone = drop_moments(db, f"stream = :no AND source IN (SELECT source FROM sources WHERE {made})", times)
    db.run(f"DELETE FROM sources WHERE {made}", times)
    return gone


def _latest(entry: Entry) -> int:
    return max([0, entry.latest.nanos, _times(entry)[1]])


def _times(entry: Entry) -> tuple[int, int]:
    """When the entry's item is, from its moments, else its picture, else what was said of it."""
    if entry.moments:
        return min(moment.start.nanos for moment in entry.moments), max(moment.end.nanos for moment in entry.moments)
    if entry.picture is not None:
        return entry.picture.at.nanos, entry.picture.at.nanos
    if entry.judgement is not None:
        return entry.judgement.start.nanos, entry.judgement.end.nanos
    return entry.latest.nanos, entry.latest.nanos


def _digest(entry: Entry) -> str:
    """The same for the same content; vectors are not in it, since their last digits depend on what was embedded beside them."""
    said = [
        [(moment.id, moment.text, moment.start.nanos, moment.end.nanos, moment.model, moment.cites) for moment in entry.moments],
        [(name, [(word.text, word.start.nanos, word.end.nanos) for word in words]) for name, words in sorted(entry.words.items())],
        entry.revision,
        entry.facts.language,
    ]
    digest = hashlib.sha256(json.dumps(said).encode())
    if entry.picture is not None:
        digest.update(f"{entry.picture.at.nanos} {entry.picture.scene_id} ".encode() + entry.picture.jpeg)
    if entry.judgement is not None:
        digest.update(entry.judgement.verdict.SerializeToString(deterministic=True))
    return digest.hexdigest()[:32]
