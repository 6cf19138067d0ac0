"""Everything that can go wrong, in one tree.

    WatchwordError
    ├── SourceError            the media that comes in
    │   ├── SourceUnavailable    cannot be opened (a retry may help)
    │   ├── SourceInvalid        opens, but is not media
    │   ├── SourceTruncated      stopped in the middle
    │   └── TrackMissing         has no such track
    ├── MediaError             packets on the way
    │   ├── CodecUnsupported     no decoder knows the codec
    │   ├── MediaUndecodable     damaged bytes
    │   └── MediaMissing         a part that never came
    ├── MessageError           records on the bus
    │   ├── RecordInvalid        not a message of its topic
    │   ├── MessageInvalid       breaks a rule of its type
    │   ├── MessageTooLarge      larger than the limit
    │   ├── StreamEnded          came after the stream's end
    │   └── TimeReversed         media time went backwards
    ├── BrokerUnavailable      the broker cannot be reached (a retry may help)
    │   └── BrokerRenewed        is there, but not what it was: a topic was made anew
    ├── ServiceUnavailable     another service cannot be reached (a retry may help)
    ├── StoreUnavailable       the scene memory cannot be used now (a retry may help)
    ├── ModelError             weights
    │   ├── ModelMissing         not on this machine
    │   └── ModelMismatch        not what the catalog names
    ├── RequestError           a caller
    │   ├── StreamUnknown        asked about a stream nobody published
    │   ├── ConversationUnknown  went on with a conversation that is not kept (any more)
    │   ├── RequestInvalid       breaks a rule
    │   └── ClientSlow           reads too slowly for the live edge (a retry may help)
    ├── SettingInvalid         a setting is wrong
    ├── Overloaded             something was left out to keep up
    └── InternalError          a defect of Watchword itself

The message of each says what was being done, what is wrong and what would help. Raise the most exact one, where the
cause is known. `reason` is its name on the wire, `retryable` whether trying again can help.
"""

from typing import ClassVar

from watchword.v1.errors_pb2 import ErrorReason


class WatchwordError(Exception):
    """Something went wrong that a user can be told about."""

    reason: ClassVar[ErrorReason] = ErrorReason.ERROR_REASON_INTERNAL
    retryable: ClassVar[bool] = False
    ends_step: ClassVar[bool] = False
    """Whether a step that meets it stops, rather than reporting the item and going on with the next."""


class SourceError(WatchwordError):
    """The media that comes in."""

    reason = ErrorReason.ERROR_REASON_SOURCE_INVALID


class SourceUnavailable(SourceError):
    """The source cannot be opened."""

    reason = ErrorReason.ERROR_REASON_SOURCE_UNAVAILABLE
    retryable = True


class SourceInvalid(SourceError):
    """The source opens but is not media."""

    reason = ErrorReason.ERROR_REASON_SOURCE_INVALID


class SourceTruncated(SourceError):
    """The source stopped in the middle."""

    reason = ErrorReason.ERROR_REASON_SOURCE_TRUNCATED


class TrackMissing(SourceError):
    """The source has no such track."""

    reason = ErrorReason.ERROR_REASON_TRACK_MISSING


class MediaError(WatchwordError):
    """Packets that cannot be used."""

    reason = ErrorReason.ERROR_REASON_MEDIA_UNDECODABLE


class CodecUnsupported(MediaError):
    """No decoder here knows the codec."""

    reason = ErrorReason.ERROR_REASON_CODEC_UNSUPPORTED


class MediaUndecodable(MediaError):
    """Bytes that should be media cannot be decoded."""

    reason = ErrorReason.ERROR_REASON_MEDIA_UNDECODABLE


class MediaMissing(MediaError):
    """A part of the source never came."""

    reason = ErrorReason.ERROR_REASON_MEDIA_MISSING


class MessageError(WatchwordError):
    """A record on the bus that cannot be used."""

    reason = ErrorReason.ERROR_REASON_MESSAGE_INVALID


class RecordInvalid(MessageError):
    """The record is not a message of its topic."""

    reason = ErrorReason.ERROR_REASON_RECORD_INVALID


class MessageInvalid(MessageError):
    """The message breaks a rule of its type."""

    reason = ErrorReason.ERROR_REASON_MESSAGE_INVALID


class MessageTooLarge(MessageError):
    """The message is larger than the limit."""

    reason = ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE


class StreamEnded(MessageError):
    """The message came after its stream's end."""

    reason = ErrorReason.ERROR_REASON_STREAM_ENDED


class TimeReversed(MessageError):
    """Media time went backwards."""

    reason = ErrorReason.ERROR_REASON_TIME_REVERSED


class BrokerUnavailable(WatchwordError):
    """The broker cannot be reached."""

    reason = ErrorReason.ERROR_REASON_BROKER_UNAVAILABLE
    retryable = True


class BrokerRenewed(BrokerUnavailable):
    """The broker is there, and a topic is not the one it was, or the broker does not know this process: one that came back empty.

    What stands on the old topic can only be begun anew.
    """


class ServiceUnavailable(WatchwordError):
    """Another service of Watchword cannot be reached."""

    reason = ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE
    retryable = True


class StoreUnavailable(WatchwordError):
    """The scene memory is locked, full, damaged or gone.

    It ends a step instead of costing it the item: what was not stored is read again when the step runs again.
    """

    reason = ErrorReason.ERROR_REASON_STORE_UNAVAILABLE
    retryable = True
    ends_step = True


class ModelError(WatchwordError):
    """Weights that cannot be used."""

    reason = ErrorReason.ERROR_REASON_MODEL_MISSING


class ModelMissing(ModelError):
    """The model's files are not on this machine."""

    reason = ErrorReason.ERROR_REASON_MODEL_MISSING


class ModelMismatch(ModelError):
    """The model's files are not the ones the catalog names."""

    reason = ErrorReason.ERROR_REASON_MODEL_MISMATCH


class RequestError(WatchwordError):
    """A caller asked for something that cannot be given."""

    reason = ErrorReason.ERROR_REASON_REQUEST_INVALID


class StreamUnknown(RequestError):
    """No such stream is known."""

    reason = ErrorReason.ERROR_REASON_STREAM_UNKNOWN


class ConversationUnknown(RequestError):
    """No such conversation is kept (any more)."""

    reason = ErrorReason.ERROR_REASON_CONVERSATION_UNKNOWN


class RequestInvalid(RequestError):
    """The request breaks a rule."""

    reason = ErrorReason.ERROR_REASON_REQUEST_INVALID


class ClientSlow(RequestError):
    """The client reads too slowly to be kept at the live edge."""

    reason = ErrorReason.ERROR_REASON_CLIENT_SLOW
    retryable = True


class SettingInvalid(WatchwordError):
    """A setting is wrong."""

    reason = ErrorReason.ERROR_REASON_SETTING_INVALID


class Overloaded(WatchwordError):
    """Something was left out to keep up with a live source."""

    reason = ErrorReason.ERROR_REASON_OVERLOADED


class InternalError(WatchwordError):
    """A defect of Watchword itself."""

    reason = ErrorReason.ERROR_REASON_INTERNAL


def reason_name(reason: ErrorReason) -> str:
    """The reason as users and `google.rpc.ErrorInfo` see it, such as "SOURCE_INVALID"."""
    return ErrorReason.Name(reason).removeprefix("ERROR_REASON_")


def named(reason: str) -> type[WatchwordError]:
    """The error of a reason's name, as `reason_name` tells it; `InternalError` for a name that is not known here."""
    leaves = (kind for kind in _kinds(WatchwordError) if not kind.__subclasses__())
    return next((kind for kind in leaves if reason_name(kind.reason) == reason), InternalError)


def _kinds(kind: type[WatchwordError]) -> list[type[WatchwordError]]:
    return [kind, *(deeper for each in kind.__subclasses__() for deeper in _kinds(each))]
