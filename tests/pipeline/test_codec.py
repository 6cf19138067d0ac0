"""Messages to bytes and headers and back, and everything that is refused on the way."""

import pytest
from google.protobuf.message import Message
from watchword.v1 import errors_pb2, events_pb2, media_pb2, safety_pb2, scene_pb2, transcript_pb2

from pipeline.bus import MAX_MESSAGE_BYTES, Context, Origin, Position, codec
from pipeline.errors import MessageInvalid, MessageTooLarge, RecordInvalid
from pipeline.graph import TOPICS
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit

ORIGIN = Origin("sample", Position(12, 3))
SAMPLES: dict[str, Message] = {
    "audio": events_pb2.AudioEvent(chunk=media_pb2.MediaChunk(stream_id="a", epoch=5, sequence=7)),
    "video": events_pb2.VideoEvent(gap=media_pb2.Gap(stream_id="a")),
    "transcripts": events_pb2.TranscriptEvent(segment=transcript_pb2.TranscriptSegment(stream_id="a", text="Good morning.")),
    "keyframes": events_pb2.KeyframeEvent(keyframe=scene_pb2.Keyframe(stream_id="a", jpeg=b"\xff\xd8")),
    "shown": events_pb2.KeyframeEvent(scene=scene_pb2.SceneBoundary(stream_id="a")),
    "captions": events_pb2.CaptionEvent(caption=scene_pb2.SceneCaption(stream_id="a", text="A lake.")),
    "audit": events_pb2.AuditEvent(record=safety_pb2.AuditRecord(stream_id="a", id="audit-0")),
    "cleared": events_pb2.ClearedEvent(end=media_pb2.StreamEnd(stream_id="a")),
    "errors": errors_pb2.ErrorEvent(stream_id="a", message="it is broken"),
}
AUDIO = TOPICS["audio"]


@pytest.mark.parametrize("topic", TOPICS)
def test_what_is_encoded_is_decoded(topic: str) -> None:
    is_chunk = topic == "audio"
    context = Context(started_at=1_700_000_000.25, live=True, clock=0 if is_chunk else 8_100_000_000)
    body, headers = codec.encode(TOPICS[topic], "a", SAMPLES[topic], ORIGIN, context)
    assert codec.decode(TOPICS[topic], b"a", body, headers) == ("a", SAMPLES[topic], ORIGIN, context)


def test_nothing_known_of_the_stream_is_no_header() -> None:
    body, headers = codec.encode(AUDIO, "a", SAMPLES["audio"], None, Context())
    assert headers == []
    assert codec.decode(AUDIO, b"a", body, [])[3] == Context(started_at=None, live=False, clock=0)


def test_a_chunk_tells_its_sources_clock_and_what_follows_from_it_carries_that_along() -> None:
    event = events_pb2.AudioEvent()
    event.CopyFrom(SAMPLES["audio"])
    event.chunk.media_offset.CopyFrom(MediaTime.of(-1.4).to_proto())
    body, headers = codec.encode(AUDIO, "a", event, None, Context(clock=7))
    context = codec.decode(AUDIO, b"a", body, headers)[3]
    assert context.clock == 126_000, "the chunk itself says it"
    body, headers = codec.encode(TOPICS["transcripts"], "a", SAMPLES["transcripts"], ORIGIN, context)
    assert ("watchword-clock", b"126000") in headers
    assert codec.decode(TOPICS["transcripts"], b"a", body, headers)[3] == context


def test_a_publisher_needs_no_headers() -> None:
    end = events_pb2.AudioEvent(end=media_pb2.StreamEnd(stream_id="a"))
    chunk_origin = codec.decode(AUDIO, b"a", SAMPLES["audio"].SerializeToString(), [])[2]
    end_origin = codec.decode(AUDIO, b"a", end.SerializeToString(), [])[2]
    assert chunk_origin == Origin(codec.PUBLISHER, Position(5, 7))
    assert end_origin.step == codec.PUBLISHER
    assert end_origin.position > Position(2**62, 2**62)


def test_headers_of_others_are_passed_over() -> None:
    body, headers = codec.encode(AUDIO, "a", SAMPLES["audio"], ORIGIN, Context())
    assert codec.decode(AUDIO, b"a", body, [("traceparent", b"\xff"), *headers])[2] == ORIGIN


def test_a_step_may_have_a_colon_in_its_name() -> None:
    body, headers = codec.encode(AUDIO, "a", SAMPLES["audio"], Origin("plug:in", Position(1, 2)), Context())
    assert codec.decode(AUDIO, b"a", body, headers)[2] == Origin("plug:in", Position(1, 2))


def test_the_same_message_is_always_the_same_bytes() -> None:
    first, _ = codec.encode(AUDIO, "a", SAMPLES["audio"], ORIGIN, Context())
    again, _ = codec.encode(AUDIO, "a", events_pb2.AudioEvent.FromString(first), ORIGIN, Context())
    assert again == first


@pytest.mark.parametrize("stream_id", ["a", "camera-1", "site:3/door".replace("/", "."), "x" * 200])
def test_these_are_stream_ids(stream_id: str) -> None:
    assert codec.decode_key(stream_id.encode()) == stream_id


@pytest.mark.parametrize("key", [None, b"", b"a b", b"a/b", b"a\n", b"\xff", "é".encode(), b"x" * 201])
def test_these_are_not(key: bytes | None) -> None:
    with pytest.raises(RecordInvalid, match="names no stream"):
        codec.decode_key(key)


def test_a_message_of_another_topic_is_not_sent() -> None:
    with pytest.raises(MessageInvalid, match="VideoEvent cannot be sent to audio"):
        codec.encode(AUDIO, "a", SAMPLES["video"], None, Context())


def test_a_wrong_stream_id_is_not_sent() -> None:
    with pytest.raises(MessageInvalid, match="'a b' is not a stream id"):
        codec.encode(AUDIO, "a b", SAMPLES["audio"], None, Context())


def chunk_of(size: int) -> events_pb2.AudioEvent:
    return events_pb2.AudioEvent(chunk=media_pb2.MediaChunk(stream_id="a", packets=[media_pb2.Packet(data=bytes(size))]))


def test_a_message_over_the_limit_is_not_sent() -> None:
    with pytest.raises(MessageTooLarge, match="stream a: a message of 50,000,"):
        codec.encode(AUDIO, "a", chunk_of(50_000_000), None, Context())


def test_a_message_just_below_the_limit_is() -> None:
    body, _ = codec.encode(AUDIO, "a", chunk_of(MAX_MESSAGE_BYTES - 100), None, Context())
    assert len(body) <= MAX_MESSAGE_BYTES
    assert codec.decode(AUDIO, b"a", body, [])[0] == "a"


@pytest.mark.parametrize("body", [None, b""])
def test_an_empty_record_is_refused(body: bytes | None) -> None:
    with pytest.raises(RecordInvalid, match="stream a: an empty record on audio"):
        codec.decode(AUDIO, b"a", body, [])


def test_garbage_is_refused() -> None:
    with pytest.raises(RecordInvalid, match="stream a: 15 bytes on audio are no AudioEvent"):
        codec.decode(AUDIO, b"a", b"this is no prot", [])


def test_a_huge_record_is_refused_unread() -> None:
    with pytest.raises(MessageTooLarge, match="stream a: a record of 50,000,000 bytes"):
        codec.decode(AUDIO, b"a", bytes(50_000_000), [])


def test_an_event_that_says_nothing_known_is_refused() -> None:
    unknown_field = b"\x7a\x00"
    with pytest.raises(RecordInvalid, match="says nothing that is known here"):
        codec.decode(AUDIO, b"a", unknown_field, [])


def test_a_key_that_differs_from_the_message_is_refused() -> None:
    with pytest.raises(MessageInvalid, match="stream b: the record's key and its message's stream id 'a' differ"):
        codec.decode(AUDIO, b"b", SAMPLES["audio"].SerializeToString(), [])


def test_an_error_of_no_stream_has_a_key_of_its_own() -> None:
    event = errors_pb2.ErrorEvent(message="a record without a key")
    body, headers = codec.encode(TOPICS["errors"], codec.NO_STREAM, event, ORIGIN, Context())
    assert codec.decode(TOPICS["errors"], codec.NO_STREAM.encode(), body, headers)[1] == event


@pytest.mark.parametrize(
    "header",
    [
        (codec.ORIGIN_HEADER, b"sample"),
        (codec.ORIGIN_HEADER, b"sample:one:2"),
        (codec.ORIGIN_HEADER, b"\xff:1:2"),
        (codec.STARTED_HEADER, b"yesterday"),
        *((codec.STARTED_HEADER, never) for never in (b"nan", b"inf", b"-inf", b"-1", b"1e18")),
    ],
)
def test_a_header_that_cannot_be_read_is_refused(header: tuple[str, bytes]) -> None:
    with pytest.raises(RecordInvalid, match=f"stream a: the header {header[0]} of a record on audio cannot be read"):
        codec.decode(AUDIO, b"a", SAMPLES["audio"].SerializeToString(), [header])


def test_what_a_step_says_needs_an_origin() -> None:
    with pytest.raises(RecordInvalid, match=f"needs the header {codec.ORIGIN_HEADER}"):
        codec.decode(TOPICS["captions"], b"a", SAMPLES["captions"].SerializeToString(), [])


def test_unreadable_bytes_become_a_record_with_the_error() -> None:
    error = RecordInvalid("no message")
    record = codec.unreadable(AUDIO, 2, 17, b"a", error)
    assert (record.stream_id, record.value, record.where) == ("a", error, "audio/2/17")
    assert codec.unreadable(AUDIO, 2, 17, b"\xff", error).stream_id == codec.NO_STREAM


def test_ends_are_told_apart() -> None:
    assert codec.is_end(SAMPLES["cleared"])
    assert not codec.is_end(SAMPLES["audio"])
    assert not codec.is_end(SAMPLES["errors"])
    assert not codec.is_end(events_pb2.AudioEvent())
