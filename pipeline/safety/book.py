"""Which policies hold for a stream now: those of a file, read again when it changes."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Protocol

import structlog

from pipeline import telemetry
from pipeline.errors import SettingInvalid
from pipeline.safety.policy import Policy, PolicySet
from pipeline.safety.policy_file import SHIPPED, PolicyFile, read

_log = structlog.get_logger(__name__)

CHECK_EVERY_S = 1.0
"""How often the file is looked at, at most."""
STREAMS_REMEMBERED = 4096


class Book(Protocol):
    """Says which policies hold."""

    def of(self, stream_id: str) -> PolicySet:
        """The policies of a stream; an empty id is that of a caller without one."""
        ...

    def tenant_of(self, stream_id: str) -> str:
        """Whose stream it is; empty where that is not said."""
        ...


class FixedBook:
    """The same policies for every stream, for as long as it lives."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self._set = PolicySet.of(policies)

    def of(self, stream_id: str) -> PolicySet:
        """See `Book`."""
        return self._set

    def tenant_of(self, stream_id: str) -> str:
        """See `Book`."""
        return ""


class FileBook:
    """The policies of a file, which may change while it is used.

    A file that was changed and is wrong leaves the policies as they were; it is logged and counted once a change. `clock` is
    seconds that never go back.
    """

    def __init__(self, path: Path = SHIPPED, *, seals: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file; raises `SettingInvalid`, also where a policy keeps content and, by `seals`, no key is there to encrypt it."""
        self._path = path
        self._seals = seals
        self._clock = clock
        self._stamp = self._stamp_now()
        self._file = self._read()
        self._checked = clock()
        self._sets: OrderedDict[str, PolicySet] = OrderedDict()

    def of(self, stream_id: str) -> PolicySet:
        """See `Book`; takes microseconds where the file has not changed."""
        self._look()
        found = self._sets.get(stream_id)
        if found is None:
            found = self._sets[stream_id] = self._file.of(stream_id)
            if len(self._sets) > STREAMS_REMEMBERED:
                self._sets.popitem(last=False)
        return found

    def tenant_of(self, stream_id: str) -> str:
        """See `Book`."""
        return self._file.tenant_of(stream_id)

    def _look(self) -> None:
        now = self._clock()
        if now - self._checked < CHECK_EVERY_S:
            return
        self._checked = now
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._file = self._read()
        except SettingInvalid as error:
            telemetry.POLICY_RELOADS.labels("refused").inc()
            _log.error("policies_refused", path=str(self._path), cause=str(error))
            return
        self._sets.clear()
        telemetry.POLICY_RELOADS.labels("taken").inc()
        _log.info("policies_changed", path=str(self._path), version=self._file.of("").version)

    def _read(self) -> PolicyFile:
        file = read(self._path)
        if not self._seals and (line := file.keeps_content()):
            raise SettingInvalid(
                f"wrong policies: {self._path}:{line}: `keep_content` needs a key that seals what is kept (WATCHWORD_AUDIT_KEY)"
            )
        return file

    def _stamp_now(self) -> tuple[int, int, int] | None:
        """What changes when the file does; `None` while it is away, as between two steps of an editor."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


@cache
def shipped() -> FixedBook:
    """The policies that come with Watchword, for who names none."""
    return FixedBook(read(SHIPPED).of("").policies)
