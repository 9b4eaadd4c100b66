"""A snapshot on disk: a file that is complete, or not there.

Two frames (frames.py): what it is, and the data of the state machine.
"""

from pathlib import Path

import msgspec

from utils.formats import decode_header
from utils.raft.core.messages import Snapshot
from utils.raft.errors import LogDamagedError
from utils.raft.io.files import Files
from utils.raft.io.frames import encode_frame, read_frame
from utils.raft.io.log_file import full_disk

VERSION = 1


class SnapshotHeader(msgspec.Struct, frozen=True):
    """The first frame. A snapshot of another cluster or node is not read by mistake."""

    version: int
    cluster_id: str
    node_id: str
    last_included_index: int
    last_included_term: int
    configuration: bytes


def write_snapshot(files: Files, path: Path, snapshot: Snapshot, *, cluster_id: str, node_id: str) -> None:
    """Durable when it returns. Raises StorageFullError and OSError; then there is no such file."""
    header = SnapshotHeader(
        version=VERSION,
        cluster_id=cluster_id,
        node_id=node_id,
        last_included_index=snapshot.last_included_index,
        last_included_term=snapshot.last_included_term,
        configuration=snapshot.configuration,
    )
    frames = encode_frame(0, msgspec.msgpack.encode(header)) + encode_frame(1, snapshot.data)
    temporary = path.with_suffix(".new")
    file = files.create(temporary)
    try:
        with full_disk():
            file.write(frames, 0)
            file.sync()
    except BaseException:
        files.remove(temporary)
        raise
    finally:
        file.close()
    files.rename(temporary, path)
    files.sync_directory(path.parent)


def read_snapshot(files: Files, path: Path) -> tuple[SnapshotHeader, Snapshot]:
    """Raises LogDamagedError, FormatTooNewError."""
    data = files.read(path)
    first = read_frame(data, 0)
    if first is None:
        raise LogDamagedError(str(path), 0, "its header is broken")
    try:
        header = decode_header(first.payload, SnapshotHeader, what="a Raft snapshot", known=VERSION, path=str(path))
    except msgspec.DecodeError as error:
        raise LogDamagedError(str(path), 0, f"its header cannot be read: {error}") from error
    second = read_frame(data, first.end)
    if second is None or second.end != len(data):
        raise LogDamagedError(str(path), first.end, "the state in it is broken")
    snapshot = Snapshot(header.last_included_index, header.last_included_term, header.configuration, second.payload)
    return header, snapshot
