"""`watchword forget`: what a stream left in the scene memory is removed, proven to be gone, and that it was is put on record."""

import asyncio
import re
from dataclasses import asdict
from pathlib import Path

from pipeline.errors import InternalError, SettingInvalid
from pipeline.graph import RETENTION_S
from pipeline.memory.open import existing_store
from pipeline.memory.store import EVERYTHING, Forgotten, Kind, Scope, Span
from pipeline.safety.audit import Keys
from pipeline.safety.audit_log import AuditLog
from pipeline.timeline import MediaTime
from services.cli import logs
from services.cli.counting import noun

NAMES = {
    "moments": ("moment", "moments"),
    "summaries": ("line of summaries", "lines of summaries"),
    "pictures": ("thumbnail", "thumbnails"),
    "judgements": ("verdict", "verdicts"),
}

_TIME = re.compile(r"(?:(?:(\d{1,6}):)?(\d{1,2}):)?(\d{1,9}(?:\.\d{1,9})?)")


def forget(stream_id: str, store: str, key: Path | None, *, start: str, end: str, by: str, reason: str) -> None:
    """Remove a stream, or what overlaps the span from `start` to `end`; both empty means the whole stream."""
    span = Span(_time("--from", start), _time("--to", end))
    if span.start and span.end and span.end <= span.start:
        raise SettingInvalid(f"--to {end} is not after --from {start}")
    logs.configure("error")
    keys = Keys.read(key) if key is not None else None
    gone = asyncio.run(_forget(stream_id, store, keys, span, {"by": by, "reason": reason, "from": start, "to": end}))
    what = f"stream {stream_id}" if span == EVERYTHING else f"{start or 'the start'} to {end or 'the end'} of stream {stream_id}"
    print(f"removed of {what}, with vectors and words:")
    for name, number in asdict(gone).items():
        print(f"  {number:>9,} {noun(number, *NAMES[name])}")
    print("Nothing of it is left there, and it will not be taken in again; `watchword audit export` tells who had it removed.")
    hours = RETENTION_S // 3600
    print(f"Not removed: what Kafka still holds, which goes by itself ({hours} h unless set otherwise), the audit log, backups.")


async def _forget(stream_id: str, address: str, keys: Keys | None, span: Span, told: dict[str, str]) -> Forgotten:
    store = await asyncio.to_thread(existing_store, address)
    try:
        log = AuditLog(store.database, key=keys.chain if keys is not None else b"")
        gone = await store.forget(stream_id, span, noted=log.erased(stream_id, told))
        left = await store.count(Scope((stream_id,), frozenset(Kind), span))
        if any(left.values()) or await store.pictures(stream_id, span=span) or await store.judgements(stream_id, span=span):
            raise InternalError(f"forgetting stream {stream_id}: something of it is still there; please report this")
        return gone
    finally:
        await store.close()


def _time(option: str, text: str) -> MediaTime | None:
    if not text:
        return None
    found = _TIME.fullmatch(text)
    if found is None:
        raise SettingInvalid(f"{option} {text}: a media time such as 1:02:03, 12:30 or 754.5 is needed")
    return MediaTime.of(int(found[1] or 0) * 3600 + int(found[2] or 0) * 60 + float(found[3]))
