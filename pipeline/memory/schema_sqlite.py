"""The layout of the scene memory in SQLite, version by version."""

import numpy as np

from pipeline.memory import codes
from pipeline.memory.code_pages import CODE_PAGES, fill
from pipeline.memory.codes import CODE_BYTES
from pipeline.memory.database import Session
from pipeline.memory.filling import STREAM_BITS
from pipeline.memory.migrations import LOOKS_OF_NOTHING, running
from pipeline.memory.store import DIMENSIONS

FIRST = f"""
CREATE TABLE streams (
    stream TEXT PRIMARY KEY,
    first_seen REAL NOT NULL,
    latest INTEGER NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE moments (
    id INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    part INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    text TEXT NOT NULL,
    model TEXT NOT NULL,
    vector BLOB NOT NULL CHECK (length(vector) = {4 * DIMENSIONS}),
    UNIQUE (stream, source, kind, part)
);
CREATE INDEX moments_by_time ON moments (stream, start_ns);
CREATE VIRTUAL TABLE words USING fts5(text, content='moments', content_rowid='id', tokenize='porter unicode61');
CREATE TRIGGER moment_added AFTER INSERT ON moments BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER moment_removed AFTER DELETE ON moments BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
END;
"""
"""What the first Watchword wrote."""

SECOND = f"""
DROP TRIGGER moment_added;
DROP TRIGGER moment_removed;
DROP INDEX moments_by_time;
DROP TABLE words;
ALTER TABLE streams RENAME TO streams_before;
ALTER TABLE moments RENAME TO moments_before;
CREATE TABLE streams (
    no INTEGER PRIMARY KEY,
    stream TEXT NOT NULL UNIQUE,
    first_seen REAL NOT NULL,
    latest_ns INTEGER NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    moments INTEGER NOT NULL DEFAULT 0,
    pictures INTEGER NOT NULL DEFAULT 0,
    handed_out INTEGER NOT NULL DEFAULT 0,
    floor_ns INTEGER,
    started_at REAL,
    width INTEGER NOT NULL DEFAULT 0,
    height INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE languages (
    stream INTEGER NOT NULL,
    language TEXT NOT NULL,
    spoken_ns INTEGER NOT NULL,
    PRIMARY KEY (stream, language)
) WITHOUT ROWID;
CREATE TABLE sources (
    stream INTEGER NOT NULL,
    source TEXT NOT NULL,
    revision INTEGER NOT NULL,
    digest TEXT NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    language TEXT NOT NULL,
    summary INTEGER NOT NULL,
    PRIMARY KEY (stream, source)
) WITHOUT ROWID;
CREATE TABLE moments (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    kind TEXT NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    code BLOB NOT NULL CHECK (length(code) = {CODE_BYTES}),
    source TEXT NOT NULL,
    part INTEGER NOT NULL,
    text TEXT NOT NULL,
    model TEXT NOT NULL,
    said TEXT NOT NULL,
    cites TEXT NOT NULL,
    indexed TEXT NOT NULL
);
CREATE UNIQUE INDEX moments_by_source ON moments (stream, source, kind, part);
CREATE INDEX moments_by_time ON moments (stream, kind, start_ns, source, part);
CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL CHECK (length(vector) = {4 * DIMENSIONS}));
CREATE TABLE pictures (
    stream INTEGER NOT NULL,
    id TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    scene TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    score REAL NOT NULL,
    jpeg BLOB NOT NULL,
    UNIQUE (stream, id)
);
CREATE INDEX sources_by_end ON sources (stream, end_ns);
CREATE INDEX pictures_by_time ON pictures (stream, at_ns, id);
CREATE TABLE judgements (
    stream INTEGER NOT NULL,
    item TEXT NOT NULL,
    kind TEXT NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    verdict BLOB NOT NULL,
    PRIMARY KEY (stream, item)
) WITHOUT ROWID;
CREATE TABLE forgotten (stream TEXT NOT NULL, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, at REAL NOT NULL);
CREATE INDEX forgotten_by_stream ON forgotten (stream);
CREATE TABLE summary_work (
    stream INTEGER NOT NULL,
    level INTEGER NOT NULL,
    number INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    claimed_at REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (stream, level, number)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(text, content='moments', content_rowid='id', tokenize='porter unicode61');
CREATE TRIGGER moment_added AFTER INSERT ON moments BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER moment_removed AFTER DELETE ON moments BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TABLE IF NOT EXISTS audit (seq INTEGER, kind TEXT, id TEXT, stream TEXT, body TEXT, previous TEXT, hash TEXT);
CREATE TABLE IF NOT EXISTS audit_head (only INTEGER PRIMARY KEY CHECK (only = 1), rows INTEGER NOT NULL, hash TEXT NOT NULL);
DROP INDEX IF EXISTS audit_by_stream;
DROP TRIGGER IF EXISTS audit_is_not_changed;
DROP TRIGGER IF EXISTS audit_is_not_removed;
ALTER TABLE audit RENAME TO audit_before;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('verdict', 'review', 'erasure')),
    id TEXT NOT NULL UNIQUE,
    stream TEXT NOT NULL,
    body TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit (seq, kind, id, stream, body, previous, hash) SELECT seq, kind, id, stream, body, previous, hash FROM audit_before;
DROP TABLE audit_before;
CREATE INDEX audit_by_stream ON audit (stream, seq);
CREATE TABLE audit_frames (
    stream TEXT NOT NULL,
    item TEXT NOT NULL,
    keyframe TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    jpeg BLOB NOT NULL,
    PRIMARY KEY (stream, item, keyframe)
) WITHOUT ROWID;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
INSERT INTO streams (stream, first_seen, latest_ns, ended, dropped, moments, handed_out)
SELECT b.stream, b.first_seen, b.latest, b.ended, b.dropped, count(m.id), count(m.id)
FROM streams_before b LEFT JOIN moments_before m ON m.stream = b.stream GROUP BY b.stream ORDER BY b.first_seen, b.stream;
INSERT INTO sources (stream, source, revision, digest, start_ns, end_ns, language, summary)
SELECT s.no, m.source, 0, '', min(m.start_ns), max(m.end_ns), '', 0
FROM moments_before m JOIN streams s ON s.stream = m.stream GROUP BY s.no, m.source;
INSERT INTO moments (id, stream, kind, start_ns, end_ns, code, source, part, text, model, said, cites, indexed)
SELECT (s.no << {STREAM_BITS}) + row_number() OVER (PARTITION BY s.no ORDER BY m.id) - 1, s.no, m.kind, m.start_ns, m.end_ns,
    watchword_code(m.vector), m.source, m.part, m.text, m.model, '', '', ''
FROM moments_before m JOIN streams s ON s.stream = m.stream ORDER BY s.no, m.id;
INSERT INTO vectors (id, vector)
SELECT n.id, m.vector FROM moments n JOIN streams s ON s.no = n.stream
JOIN moments_before m ON m.stream = s.stream AND m.source = n.source AND m.kind = n.kind AND m.part = n.part;
INSERT INTO summary_work (stream, level, number, generation) SELECT DISTINCT stream, 0, start_ns / 300000000000, 1 FROM moments
UNION SELECT DISTINCT stream, 1, start_ns / 3600000000000, 1 FROM moments;
DROP TABLE moments_before;
DROP TABLE streams_before;
"""
"""Words with times, thumbnails, verdicts, summaries, what was forgotten; a moment's id tells its stream, its code is beside it.

The audit log, which was laid out by itself before, may tell of what was erased.
"""


def code_of(vector: bytes) -> bytes:
    """The code of a stored vector, as `watchword_code` in SQL."""
    return codes.encode(np.frombuffer(vector, "<f4")[None])[0]


def _with_pages(db: Session) -> None:
    running(CODE_PAGES)(db)
    fill(db)


STEPS = (*map(running, (FIRST, SECOND, LOOKS_OF_NOTHING)), _with_pages)
"""The fourth has the codes side by side as well."""
