"""Frames: what is read back is what was written; a torn end is cut, anything else broken is reported."""

import pytest
from hypothesis import given, settings, strategies as st

from utils.raft.errors import LogDamagedError
from utils.raft.io.frames import HEADER_BYTES, encode_frame, scan

_PAYLOADS = st.lists(st.binary(max_size=600), min_size=1, max_size=6)
_SECTOR_BYTES = 64


def _file(payloads: list[bytes]) -> bytes:
    return b"".join(encode_frame(sequence, payload) for sequence, payload in enumerate(payloads, start=1))


@settings(deadline=None)
@given(_PAYLOADS, st.integers(0, 100))
def test_frames_are_read_back_as_they_were_written(payloads: list[bytes], space: int) -> None:
    data = _file(payloads)
    found = scan("log", data + bytes(space), 0, 1)
    assert [frame.payload for frame in found.frames] == payloads
    assert (found.end, found.torn_bytes) == (len(data), 0)


@settings(deadline=None)
@given(_PAYLOADS, st.data())
def test_a_last_frame_of_which_only_some_sectors_reached_the_disk_is_cut_off(
    payloads: list[bytes], data: st.DataObject
) -> None:
    kept, last = _file(payloads[:-1]), encode_frame(len(payloads), payloads[-1])
    sectors = [last[start : start + _SECTOR_BYTES] for start in range(0, len(last), _SECTOR_BYTES)]
    missing = data.draw(st.sets(st.sampled_from(range(len(sectors))), min_size=1))
    torn = b"".join(bytes(len(sector)) if number in missing else sector for number, sector in enumerate(sectors))
    found = scan("log", kept + torn + bytes(1_000), 0, 1)
    # A sector of zeros may be what was to be written.
    expected = payloads if torn == last else payloads[:-1]
    assert [frame.payload for frame in found.frames] == expected
    assert found.end == len(_file(expected))
    assert (found.torn_bytes > 0) == (torn.strip(b"\0") != b"" and torn != last)


@settings(deadline=None)
@given(_PAYLOADS, st.data())
def test_a_file_that_ends_inside_its_last_frame_is_cut_before_it(payloads: list[bytes], data: st.DataObject) -> None:
    whole, kept = _file(payloads), _file(payloads[:-1])
    end = data.draw(st.integers(len(kept), len(whole) - 1))
    found = scan("log", whole[:end], 0, 1)
    assert [frame.payload for frame in found.frames] == payloads[:-1]
    assert (found.end, found.torn_bytes > 0) == (len(kept), end > len(kept))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=2, max_size=6), st.data())
def test_a_flipped_bit_before_the_last_frame_is_damage(payloads: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(_file(payloads))
    last = len(_file(payloads[:-1]))
    bit = data.draw(st.integers(0, last * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    with pytest.raises(LogDamagedError, match="move its data directory away") as caught:
        scan("some/log", bytes(whole), 0, 1)
    assert caught.value.path == "some/log"
    assert caught.value.offset <= bit // 8


def test_a_frame_that_is_missing_is_damage() -> None:
    with pytest.raises(LogDamagedError, match="record 3 follows"):
        scan("log", encode_frame(1, b"one") + encode_frame(3, b"three"), 0, 1)


def test_zeros_between_frames_are_damage() -> None:
    with pytest.raises(LogDamagedError):
        scan("log", encode_frame(1, b"one") + bytes(HEADER_BYTES) + encode_frame(2, b"two"), 0, 1)
