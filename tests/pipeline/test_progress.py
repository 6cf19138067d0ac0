"""A group's progress as bytes."""

import contextlib
import random

import pytest

from pipeline.bus import MAX_MESSAGE_BYTES, Position, Progress, StreamProgress
from pipeline.bus.progress import decode, encode
from pipeline.errors import RecordInvalid

pytestmark = pytest.mark.unit


def anything(chance: random.Random) -> Progress:
    def number() -> int:
        return chance.choice([0, 1, chance.randrange(2**20), chance.randrange(2**63), 2**63 - 1, -1])

    def name() -> str:
        return "".join(chance.choices('abcXYZ019._:-"\\ é世', k=chance.randrange(1, 30)))

    def stream() -> StreamProgress:
        seen = {name(): Position(number(), number()) for _ in range(chance.randrange(4))}
        return StreamProgress(number(), seen, frozenset(name() for _ in range(chance.randrange(3))))

    return Progress(number(), {name(): stream() for _ in range(chance.randrange(20))})


def test_what_is_written_is_read() -> None:
    for seed in range(300):
        progress = anything(random.Random(seed))
        assert decode(encode(progress)) == progress, seed


def test_the_same_progress_is_the_same_bytes() -> None:
    one = Progress(4, {"s": StreamProgress(5, {"publish": Position(1, 2)}, frozenset({"b", "a", "c"}))})
    assert encode(one) == b'{"version":1,"offset":4,"streams":{"s":{"needed":5,"seen":{"publish":[1,2]},"ended":["a","b","c"]}}}'


def test_five_thousand_streams_fit_in_a_message() -> None:
    one = StreamProgress(10**9, {"transcribe": Position(10**9, 9)}, frozenset())
    assert len(encode(Progress(1, {f"camera-{number:06}": one for number in range(5_000)}))) < MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"null",
        b'{"version":2,"offset":1,"streams":{}}',
        b'{"version":1,"offset":null,"streams":{}}',
        b'{"version":1,"streams":{}}',
        b'{"version":1,"offset":1,"streams":[]}',
        b'{"version":1,"offset":1,"streams":{"s":{}}}',
        b'{"version":1,"offset":1,"streams":{"s":{"needed":1,"seen":{"a":[1]}}}}',
        b'{"version":1,"offset":1,"streams":{"s":{"needed":1,"ended":3}}}',
    ],
)
def test_what_is_no_progress_is_refused(body: bytes) -> None:
    with pytest.raises(RecordInvalid):
        decode(body)


def test_bytes_cut_or_changed_anywhere_are_refused_or_read_without_a_crash() -> None:
    chance = random.Random(7)
    whole = encode(Progress(4, {"s": StreamProgress(5, {"publish": Position(1, 2)}, frozenset({"a"}))}))
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with contextlib.suppress(RecordInvalid):
            assert isinstance(decode(bytes(damaged)), Progress)
    for length in range(len(whole)):
        with pytest.raises(RecordInvalid):
            decode(whole[:length])
