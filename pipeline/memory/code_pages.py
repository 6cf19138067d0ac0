"""The codes of a SQLite memory side by side, so that all of them can be looked at without reading the moments.

A page holds the codes of 84 ids that follow one another, as many as fit into a page of the file; where no moment has an id
there are zeros. Triggers keep the pages up to date. A million codes are 12,000 rows, and are compared 10,752 at a time.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.memory.codes import CODE_BYTES
from pipeline.memory.database import Session

SLOTS = 84
PAGES_AT_ONCE = 128
SPARE = 4
"""So many times as many ids as are wanted are kept before the furthest of them are let go."""
PAGE_BYTES = SLOTS * CODE_BYTES

_SLOT = f"({{row}}.id % {SLOTS}) * {CODE_BYTES}"
_PUT = """UPDATE code_pages SET codes = CAST(substr(codes, 1, {slot}) || {code} || substr(codes, {slot} + {length} + 1) AS BLOB)
    WHERE page = {row}.id / {slots};"""


def _put(row: str, code: str) -> str:
    return _PUT.format(slot=_SLOT.format(row=row), code=code, length=CODE_BYTES, row=row, slots=SLOTS)


CODE_PAGES = f"""
CREATE TABLE IF NOT EXISTS code_pages (page INTEGER PRIMARY KEY, codes BLOB NOT NULL CHECK (length(codes) = {PAGE_BYTES}));
CREATE TRIGGER IF NOT EXISTS code_added AFTER INSERT ON moments BEGIN
    INSERT OR IGNORE INTO code_pages (page, codes) VALUES (new.id / {SLOTS}, zeroblob({PAGE_BYTES}));
    {_put("new", "new.code")}
END;
CREATE TRIGGER IF NOT EXISTS code_removed AFTER DELETE ON moments BEGIN
    {_put("old", f"zeroblob({CODE_BYTES})")}
    DELETE FROM code_pages WHERE page = old.id / {SLOTS} AND codes = zeroblob({PAGE_BYTES});
END;
"""


def fill(db: Session) -> None:
    """Write the pages of the moments that are there."""
    after = -1
    while rows := db.rows("SELECT id, code FROM moments WHERE id > :after ORDER BY id LIMIT :limit", {"after": after, "limit": 65_536}):
        after = rows[-1][0] // SLOTS * SLOTS + SLOTS - 1
        rows += db.rows("SELECT id, code FROM moments WHERE id > :last AND id <= :after", {"last": rows[-1][0], "after": after})
        pages: dict[int, bytearray] = {}
        for number, code in rows:
            at = number % SLOTS * CODE_BYTES
            pages.setdefault(number // SLOTS, bytearray(PAGE_BYTES))[at : at + CODE_BYTES] = code
        values = [{"page": page, "codes": bytes(held)} for page, held in pages.items()]
        db.run_many("INSERT OR REPLACE INTO code_pages (page, codes) VALUES (:page, :codes)", values)


def nearest(db: Session, code: bytes, most: int) -> list[int]:
    """The ids with the codes nearest to this one, at most so many, in no order; some may belong to no moment."""
    asked = np.frombuffer(code, "<u8")
    ids, apart, furthest = np.zeros(0, np.int64), np.zeros(0, np.uint16), 8 * CODE_BYTES + 1
    after = -1
    while rows := db.rows("SELECT page, codes FROM code_pages WHERE page > :after ORDER BY page LIMIT :limit", _next(after)):
        after = rows[-1][0]
        distance = _distance(b"".join(row[1] for row in rows), asked)
        near = np.flatnonzero(distance < furthest)
        pages = np.array([row[0] for row in rows], np.int64)
        ids = np.concatenate([ids, pages[near // SLOTS] * SLOTS + near % SLOTS])
        apart = np.concatenate([apart, distance[near]])
        if len(apart) > SPARE * most:
            best = np.argpartition(apart, most)[:most]
            ids, apart = ids[best], apart[best]
            furthest = int(apart.max())
    if len(apart) > most:
        ids = ids[np.argpartition(apart, most)[:most]]
    return [int(number) for number in ids]


def _next(after: int) -> dict[str, int]:
    return {"after": after, "limit": PAGES_AT_ONCE}


def _distance(stored: bytes, asked: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """In how many bits each of the codes that stand one after another differs."""
    counts = np.bitwise_count(np.frombuffer(stored, "<u8").reshape(-1, CODE_BYTES // 8) ^ asked)
    # Two counts at a time, as the halves of a number: three of up to 64 fit into each.
    first, second, third = counts.view(np.uint16).T
    halves: NDArray[np.uint16] = first + second + third
    return (halves & 255) + (halves >> 8)
