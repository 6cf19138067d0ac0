"""A group's progress in one partition, to bytes and back.

The form is JSON with a version, so that it can be read with any Kafka tool. A later version may add fields; one that
changes the meaning of a field gets a new number, and older readers refuse it instead of going on from a wrong place.
"""

import contextlib
import json
from typing import Any

from pipeline.bus import Position, Progress, StreamProgress
from pipeline.errors import RecordInvalid

VERSION = 1


def encode(progress: Progress, topic_id: str = "") -> bytes:
    """The progress as UTF-8 JSON: about 60 bytes and the stream's id for each stream.

    `topic_id` is what the broker calls the topic: in a later one of the same name the offsets mean something else.
    """
    streams = {stream_id: _stream_to_json(stream) for stream_id, stream in progress.streams.items()}
    document: dict[str, Any] = {"version": VERSION, "offset": progress.offset, "streams": streams}
    if topic_id:
        document["topic"] = topic_id
    return json.dumps(document, separators=(",", ":")).encode()


def is_of_another(body: bytes, topic_id: str) -> bool:
    """Whether the progress is of a topic with another id; not where one of both is not told, as before Kafka 2.8."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return bool(topic_id) and json.loads(body).get("topic", topic_id) != topic_id
    return False


def decode(body: bytes) -> Progress:
    """The progress that `encode` wrote; raises `RecordInvalid` for anything else."""
    try:
        document = json.loads(body)
        version = document["version"]
        if version != VERSION:
            raise RecordInvalid(f"the progress was written in version {version!r:.20} of its form, and only {VERSION} is known here")
        streams = {stream_id: _stream_from_json(stream) for stream_id, stream in document["streams"].items()}
        return Progress(int(document["offset"]), streams)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordInvalid(f"{len(body):,} bytes are no progress: {error!r:.100}") from None


def _stream_to_json(stream: StreamProgress) -> dict[str, Any]:
    fields: dict[str, Any] = {"needed": stream.needed}
    if stream.seen:
        fields["seen"] = {step: [position.major, position.minor] for step, position in stream.seen.items()}
    if stream.ended:
        fields["ended"] = sorted(stream.ended)
    return fields


def _stream_from_json(fields: dict[str, Any]) -> StreamProgress:
    seen = {step: Position(int(major), int(minor)) for step, (major, minor) in fields.get("seen", {}).items()}
    return StreamProgress(int(fields["needed"]), seen, frozenset(fields.get("ended", ())))
