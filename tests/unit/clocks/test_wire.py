"""Clocks and stories from the wire: only what an order comes by enters a log."""

import msgspec
import pytest

from utils.clocks.story import Event, pack
from utils.clocks.vector_clock import VectorClock
from utils.pb.convert import packed_clock_from_proto, packed_clock_to_proto, packed_story_from_proto
from utils.pb.vector_clock_pb2 import VectorClock as ClockMessage
from utils.rpc.errors import InvalidArgument

GOOD = pack(Event("payment", "prepared", VectorClock({"order_executor": 1 << 20, "payment": 1}), epoch=1, number=1))


def packed(*fields: object) -> bytes:
    return msgspec.msgpack.encode(fields)


def test_a_good_story_and_a_good_clock_pass_as_they_are() -> None:
    assert packed_story_from_proto([GOOD, GOOD]) == (GOOD, GOOD)
    clock = packed_clock_from_proto(ClockMessage(entries={"payment": 2, "order_executor_9": 1}))
    again = packed_clock_to_proto(clock)
    assert again is not None
    assert dict(again.entries) == {"payment": 2, "order_executor_9": 1}
    assert packed_clock_to_proto(packed_clock_from_proto(ClockMessage())) is None


@pytest.mark.parametrize(
    "story",
    [
        [GOOD] * 65,
        [b""],
        [b"\xc1"],
        [packed(99, "prepared", {7: 1}, 1, 1)],
        [packed(7, "prepared", {99: 1, 7: 1}, 1, 1)],
        [packed(7, "prepared", {7: -1}, 1, 1)],
        [packed(7, "prepared", {7: 0}, 1, 1)],
        [packed(7, "prepared", {6: 1}, 1, 1)],
        [packed(7, "prepared", {7: 2**63}, 1, 1)],
        [packed(7, "pre\npared", {7: 1}, 1, 1)],
        [packed(7, "p" * 2_000, {7: 1}, 1, 1)],
    ],
    ids=["many", "empty", "bytes", "host", "known host", "negative", "zero", "uncounted", "large", "lines", "long"],
)
def test_a_bad_story_is_refused(story: list[bytes]) -> None:
    with pytest.raises(InvalidArgument):
        packed_story_from_proto(story)


@pytest.mark.parametrize(
    "entries",
    [{str(number): 1 for number in range(17)}, {"payment": 2**63}, {"p" * 101: 1}],
    ids=["many", "large", "long"],
)
def test_a_bad_clock_is_refused(entries: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        packed_clock_from_proto(ClockMessage(entries=entries))
