"""How records lie in a file of the log: one frame for each synced write, checked by CRC.

    magic "RAFT" | length u32 | sequence u64 | CRC-32 of the payload u32 | CRC-32 of this header u32 | payload

All numbers are little-endian. Sequence numbers grow by one without gaps. A frame is written only after the one before
it is synced, so after a power cut at most the last one can be torn; whatever is broken and still has an intact frame
behind it was damaged later, and what it held may have been promised to others.
"""

import re
import struct
import zlib
from dataclasses import dataclass

from utils.raft.errors import LogDamagedError

_MAGIC = b"RAFT"
_HEADER = struct.Struct("<4sIQII")
HEADER_BYTES = _HEADER.size
_CHECKED_BYTES = HEADER_BYTES - 4
_NOT_ZERO = re.compile(rb"[^\0]")


@dataclass(frozen=True)
class Frame:
    """A frame that was read back: its payload, and where it ends."""

    sequence: int
    payload: bytes
    end: int


@dataclass(frozen=True)
class Scan:
    """What a file holds: its intact frames, where they end, and how many bytes of a torn frame follow."""

    frames: tuple[Frame, ...]
    end: int
    torn_bytes: int


def encode_frame(sequence: int, payload: bytes) -> bytes:
    """The bytes of a frame."""
    checked = _HEADER.pack(_MAGIC, len(payload), sequence, zlib.crc32(payload), 0)[:_CHECKED_BYTES]
    return b"".join((checked, zlib.crc32(checked).to_bytes(4, "little"), payload))


def scan(path: str, data: bytes, start: int, first_sequence: int) -> Scan:
    """Reads the frames of `data` from byte `start` on; zeros after them are space that is not used yet.

    Raises LogDamagedError, naming `path`, when what is broken is not merely the last frame.
    """
    frames: list[Frame] = []
    position, sequence = start, first_sequence
    while (frame := read_frame(data, position)) is not None and frame.sequence == sequence:
        frames.append(frame)
        position, sequence = frame.end, sequence + 1
    used = _last_used(data, position)
    if used == position:
        return Scan(tuple(frames), position, 0)
    candidate = data.find(_MAGIC, position)
    while candidate >= 0:
        if (later := read_frame(data, candidate)) is not None:
            raise LogDamagedError(path, position, f"record {sequence} is broken, and record {later.sequence} follows")
        candidate = data.find(_MAGIC, candidate + 1)
    return Scan(tuple(frames), position, used - position)


def read_frame(data: bytes, position: int) -> Frame | None:
    """The frame that begins at byte `position`; None if there is no intact one."""
    if position + HEADER_BYTES > len(data):
        return None
    magic, length, sequence, payload_crc, header_crc = _HEADER.unpack_from(data, position)
    if magic != _MAGIC or zlib.crc32(data[position : position + _CHECKED_BYTES]) != header_crc:
        return None
    end = position + HEADER_BYTES + length
    payload = data[position + HEADER_BYTES : end]
    if end > len(data) or zlib.crc32(payload) != payload_crc:
        return None
    return Frame(sequence, payload, end)


def _last_used(data: bytes, position: int) -> int:
    """The end of the last byte from `position` on that is not zero; `position` if all are."""
    if _NOT_ZERO.search(data, position) is None:
        return position
    return len(data.rstrip(b"\0"))
