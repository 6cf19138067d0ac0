"""The tree of errors, and what each is on the wire."""

import re
from collections.abc import Iterator

import pytest
from google.rpc import code_pb2, error_details_pb2
from watchword.v1.errors_pb2 import ErrorReason

from pipeline import errors
from pipeline.errors import WatchwordError, reason_name
from services.rpc import CODES, DOMAIN, status_of

pytestmark = pytest.mark.unit


def leaves(error: type[WatchwordError] = WatchwordError) -> Iterator[type[WatchwordError]]:
    """The errors below which none states a reason of its own: what is below a leaf is a case of it."""
    below = [child for child in error.__subclasses__() if "reason" in vars(child)]
    if not below:
        yield error
    for child in below:
        yield from leaves(child)


LEAVES = [leaf for leaf in leaves() if leaf.__module__ == errors.__name__]
STATED = [reason for reason in ErrorReason.values() if reason != ErrorReason.ERROR_REASON_UNSPECIFIED]


@pytest.mark.parametrize("reason", STATED, ids=reason_name)
def test_each_reason_belongs_to_exactly_one_error(reason: ErrorReason) -> None:
    assert [leaf.__name__ for leaf in LEAVES if leaf.reason == reason] == [_class_name(reason)]


def _class_name(reason: ErrorReason) -> str:
    name = "".join(word.capitalize() for word in reason_name(reason).split("_"))
    return "InternalError" if name == "Internal" else name


def test_every_error_is_drawn_in_the_tree() -> None:
    drawing = errors.__doc__ or ""
    every = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, WatchwordError)]
    assert [each.__name__ for each in every if not re.search(rf"\b{each.__name__}\b", drawing)] == []


def test_a_retry_can_help_where_someone_may_come_back() -> None:
    assert {leaf.__name__ for leaf in LEAVES if leaf.retryable} == {
        "SourceUnavailable",
        "BrokerUnavailable",
        "ServiceUnavailable",
        "StoreUnavailable",
        "ClientSlow",
    }


def test_callers_are_told_to_retry_only_where_that_can_help() -> None:
    for leaf in LEAVES:
        if status_of(leaf("")).code == code_pb2.UNAVAILABLE:
            assert leaf.retryable, f"{leaf.__name__} is UNAVAILABLE on the wire, which clients retry"


def test_only_a_defect_of_our_own_is_internal() -> None:
    assert [reason for reason, code in CODES.items() if code == code_pb2.INTERNAL] == [ErrorReason.ERROR_REASON_INTERNAL]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_the_status_names_the_cause_the_reason_and_a_code(leaf: type[WatchwordError]) -> None:
    status = status_of(leaf("stream a: it is broken; mend it"))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason_name(leaf.reason), DOMAIN)
    assert status.message == "stream a: it is broken; mend it"
    assert status.code not in (code_pb2.OK, code_pb2.UNKNOWN)
