"""The layout of the scene memory in PostgreSQL, version by version."""

from pipeline.memory.migrations import LOOKS_OF_NOTHING, running
from pipeline.memory.ranking import HASHED
from pipeline.memory.store import DIMENSIONS

FIRST = f"""
CREATE TEXT SEARCH DICTIONARY stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = porter);
CREATE TEXT SEARCH CONFIGURATION stemmed (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION stemmed ALTER MAPPING FOR asciiword, word, numword WITH stem;
CREATE TABLE streams (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream text NOT NULL UNIQUE,
    first_seen double precision NOT NULL,
    latest_ns bigint NOT NULL,
    ended integer NOT NULL DEFAULT 0,
    dropped bigint NOT NULL DEFAULT 0,
    moments bigint NOT NULL DEFAULT 0,
    pictures bigint NOT NULL DEFAULT 0,
    handed_out bigint NOT NULL DEFAULT 0,
    floor_ns bigint,
    started_at double precision,
    width integer NOT NULL DEFAULT 0,
    height integer NOT NULL DEFAULT 0
);
CREATE TABLE languages (
    stream bigint NOT NULL,
    language text NOT NULL,
    spoken_ns bigint NOT NULL,
    PRIMARY KEY (stream, language)
);
CREATE TABLE sources (
    stream bigint NOT NULL,
    source text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    digest text NOT NULL,
    start_ns bigint NOT NULL,
    end_ns bigint NOT NULL,
    language text NOT NULL,
    summary integer NOT NULL,
    PRIMARY KEY (stream, source)
);
CREATE TABLE moments (
    id bigint PRIMARY KEY,
    stream bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    start_ns bigint NOT NULL,
    end_ns bigint NOT NULL,
    code bit({DIMENSIONS}) NOT NULL,
    source text COLLATE "C" NOT NULL,
    part integer NOT NULL,
    text text NOT NULL,
    model text NOT NULL,
    said text NOT NULL,
    cites text NOT NULL,
    indexed tsvector NOT NULL
);
CREATE UNIQUE INDEX moments_by_source ON moments (stream, source, kind, part);
CREATE INDEX moments_by_time ON moments (stream, kind, start_ns, source, part);
CREATE INDEX moments_by_words ON moments USING gin (indexed);
CREATE TABLE vectors (id bigint PRIMARY KEY, vector vector({DIMENSIONS}) NOT NULL);
CREATE TABLE pictures (
    stream bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    at_ns bigint NOT NULL,
    scene text NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    score double precision NOT NULL,
    jpeg bytea NOT NULL,
    PRIMARY KEY (stream, id)
);
CREATE INDEX sources_by_end ON sources (stream, end_ns);
CREATE INDEX pictures_by_time ON pictures (stream, at_ns, id);
CREATE TABLE judgements (
    stream bigint NOT NULL,
    item text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    start_ns bigint NOT NULL,
    end_ns bigint NOT NULL,
    verdict bytea NOT NULL,
    PRIMARY KEY (stream, item)
);
CREATE TABLE forgotten (stream text NOT NULL, start_ns bigint NOT NULL, end_ns bigint NOT NULL, at double precision NOT NULL);
CREATE INDEX forgotten_by_stream ON forgotten (stream);
CREATE TABLE summary_work (
    stream bigint NOT NULL,
    level integer NOT NULL,
    number bigint NOT NULL,
    generation bigint NOT NULL,
    claimed_at double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (stream, level, number)
);
CREATE TABLE audit (
    seq bigint PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('verdict', 'review', 'erasure')),
    id text NOT NULL UNIQUE,
    stream text NOT NULL,
    body text NOT NULL,
    previous text NOT NULL,
    hash text NOT NULL
);
CREATE INDEX audit_by_stream ON audit (stream, seq);
CREATE TABLE audit_head ("only" integer PRIMARY KEY CHECK ("only" = 1), rows bigint NOT NULL, hash text NOT NULL);
CREATE TABLE audit_frames (
    stream text NOT NULL,
    item text NOT NULL,
    keyframe text NOT NULL,
    at_ns bigint NOT NULL,
    jpeg bytea NOT NULL,
    PRIMARY KEY (stream, item, keyframe)
);
CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'the audit log is append-only'; END$$;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit EXECUTE FUNCTION audit_stays();
"""


SECOND = f"""
DROP INDEX moments_by_words;
ALTER TABLE moments ADD COLUMN words bigint[];
UPDATE moments SET words = {HASHED.format(no="stream", words="indexed")};
ALTER TABLE moments DROP COLUMN indexed;
ALTER TABLE moments RENAME COLUMN words TO indexed;
ALTER TABLE moments ALTER COLUMN indexed SET NOT NULL;
CREATE INDEX moments_by_words ON moments USING gin (indexed) WITH (gin_pending_list_limit = 512);
"""
"""A word is indexed as a number that tells its stream."""


STEPS = tuple(map(running, (FIRST, SECOND, LOOKS_OF_NOTHING)))
