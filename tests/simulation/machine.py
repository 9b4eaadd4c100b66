"""The state machine of a simulated node: a hash of all that it has applied, and snapshots of that."""

import random
import zlib

from utils.raft.core.messages import LogBase, Snapshot

_HASH_BYTES = 8
_FILLER_BYTES_MAX = 600


def snapshot_of(base: LogBase, machine: bytes, rng: random.Random) -> Snapshot:
    """Two nodes' snapshots of the same state have other bytes: parts of them do not fit together."""
    body = machine + rng.randbytes(rng.randint(0, _FILLER_BYTES_MAX))
    data = body + zlib.crc32(body).to_bytes(4, "little")
    return Snapshot(base.index, base.term, b"", data)


def machine_hash(snapshot: Snapshot) -> bytes:
    """The state that it restores. Raises AssertionError if it did not arrive as it was taken."""
    body, checksum = snapshot.data[:-4], snapshot.data[-4:]
    assert zlib.crc32(body).to_bytes(4, "little") == checksum, "a snapshot was put together from what does not match"
    return body[:_HASH_BYTES]
