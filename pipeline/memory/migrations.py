"""The layout of the scene memory has a version, and a step from each version to the next."""

from collections.abc import Callable, Sequence

from pipeline.errors import SettingInvalid
from pipeline.memory.database import Session

Step = Callable[[Session], None]
"""Brings a database from one version to the next, inside a transaction that somebody else ends."""

LOOKS_OF_NOTHING = """
DELETE FROM vectors WHERE id IN (
    SELECT m.id FROM moments m
    WHERE m.kind = 'picture' AND NOT EXISTS (SELECT 1 FROM sources s WHERE s.stream = m.stream AND s.source = m.source)
);
DELETE FROM moments
WHERE kind = 'picture' AND NOT EXISTS (SELECT 1 FROM sources s WHERE s.stream = moments.stream AND s.source = moments.source);
UPDATE streams SET moments = (SELECT count(*) FROM moments m WHERE m.stream = streams.no AND m.kind <> 'summary');
"""
"""The third layout has the tables of the second: what thumbnails that are gone looked like went from it, and lines of what is in view came.

The Watchword of the second layout cannot read such lines, so it must not open it.
"""


def migrate(db: Session, found: int, steps: Sequence[Step], shown: str) -> int:
    """Bring a database that has the version `found` to the latest, and give that; step n leads to version n + 1.

    Raises `SettingInvalid` for a version that is not known here. To be called under the lock that keeps others from doing the same.
    """
    if not 0 <= found <= len(steps):
        raise SettingInvalid(
            f"The scene memory {shown} has the layout {found}, and this Watchword knows up to {len(steps)}: "
            "it was written by a newer one; use that, or another memory."
        )
    for step in steps[found:]:
        step(db)
    return len(steps)


def running(script: str) -> Step:
    """The step that runs the script."""

    def step(db: Session) -> None:
        for statement in statements(script):
            db.run(statement)

    return step


def statements(script: str) -> list[str]:
    """The statements of a script in which each ends with a ";" at the end of a line that is not indented or closes a trigger."""
    found: list[str] = []
    part: list[str] = []
    for line in script.splitlines():
        part.append(line)
        if line.endswith(";") and not line.startswith(" "):
            found.append("\n".join(part).strip())
            part = []
    return [statement for statement in found if statement]
