"""What is where in etcd: a log, its end, its snapshot and its leader, and the transactions on them.

Below `/bookstore/v1/<cluster id>/` (the version is that of this format):

    now/leader                who leads, under the leader's lease; its create revision is the term
    now/head                  the index of the log's last command
    log/<index>               commands, the first of which has this index; the term in which they were appended
    snapshot                  the index and the number of chunks of the newest snapshot
    snapshots/<index>/<n>     its chunks

Each transaction that writes is conditional on the leader's key being still the one of the writer's term. So it is
etcd, in one step with the write, that keeps a deposed leader from writing, whatever that leader believes.
"""

import msgspec

from utils.pb import etcd_pb2 as pb

# So many entries are at most read at once: with one of the largest command each they still fit into one gRPC message.
ENTRIES_PER_READ = 12


class Leader(msgspec.Struct, frozen=True, array_like=True):
    node_id: str
    # host:port, where the node serves.
    address: str


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """Commands that were appended together. The first has the index of the entry's key."""

    term: int
    commands: tuple[bytes, ...]


class SnapshotPointer(msgspec.Struct, frozen=True, array_like=True):
    last_included_index: int
    chunks: int


class View(msgspec.Struct, frozen=True):
    """All that matters, at one revision."""

    revision: int
    # Of the leader's key; 0: nobody leads.
    term: int
    leader: Leader | None
    head: int
    snapshot: SnapshotPointer | None
    # By the index of the first command; those after the index asked for, in order, and perhaps not all.
    entries: tuple[tuple[int, Entry], ...]


_encode = msgspec.msgpack.Encoder().encode
_leader_decoder = msgspec.msgpack.Decoder(Leader)
_entry_decoder = msgspec.msgpack.Decoder(Entry)
_snapshot_decoder = msgspec.msgpack.Decoder(SnapshotPointer)


class Layout:
    """The keys of one cluster of ours."""

    def __init__(self, cluster_id: str) -> None:
        root = f"/bookstore/v1/{cluster_id}/".encode()
        # What changes whenever there is something to look at.
        self.news, self.news_end = root + b"now/", root + b"now0"
        self._leader, self._head = self.news + b"leader", self.news + b"head"
        self._log, self._log_end = root + b"log/", root + b"log0"
        self._snapshot, self._chunks = root + b"snapshot", root + b"snapshots/"

    def look(self, after: int) -> pb.TxnRequest:
        """Reads everything, and the entries from index `after` + 1 on. See `view`."""
        reads = [_get(self._leader), _get(self._head), _get(self._snapshot)]
        return pb.TxnRequest(success=[*reads, self._read_log(after, ENTRIES_PER_READ)])

    def view(self, response: pb.TxnResponse) -> View:
        """Of the answer to `look`, or of the refusal of `append`."""
        leader, head, snapshot, log = (answer.response_range for answer in response.responses)
        return View(
            revision=response.header.revision,
            term=leader.kvs[0].create_revision if leader.kvs else 0,
            leader=_leader_decoder.decode(leader.kvs[0].value) if leader.kvs else None,
            head=int(head.kvs[0].value) if head.kvs else 0,
            snapshot=_snapshot_decoder.decode(snapshot.kvs[0].value) if snapshot.kvs else None,
            entries=tuple((self._index_of(pair.key), _entry_decoder.decode(pair.value)) for pair in log.kvs),
        )

    def campaign(self, leader: Leader, lease_id: int) -> pb.TxnRequest:
        """Becomes the leader if nobody is. See `term_won`."""
        return pb.TxnRequest(
            compare=[_is_absent(self._leader)],
            success=[_put(self._leader, _encode(leader), lease_id)],
            failure=[_get(self._leader)],
        )

    def term_won(self, response: pb.TxnResponse, lease_id: int) -> int | None:
        """The term that the answer to `campaign` says; None: another leads. Right also for a repeated request."""
        if response.succeeded:
            return response.header.revision
        found = response.responses[0].response_range.kvs
        return found[0].create_revision if found and found[0].lease == lease_id else None

    def depose(self, term: int) -> pb.TxnRequest:
        """Ends this term, if it is not over yet."""
        return pb.TxnRequest(compare=[self._leads(term)], success=[_delete(self._leader, b"")])

    def append(self, term: int, index: int, commands: tuple[bytes, ...]) -> pb.TxnRequest:
        """The commands as those from `index` on, if this is where the log goes on; else reads as `look` does."""
        head = index - 1
        is_end = _is_absent(self._head) if head == 0 else _has_value(self._head, str(head).encode())
        last = str(index + len(commands) - 1).encode()
        return pb.TxnRequest(
            compare=[self._leads(term), is_end],
            success=[_put(self._log_key(index), _encode(Entry(term, commands))), _put(self._head, last)],
            failure=self.look(head).success,
        )

    def confirm(self, term: int) -> pb.TxnRequest:
        """Reads the log's end, if `term` is still the leader's. See `confirmed`."""
        return pb.TxnRequest(compare=[self._leads(term)], success=[_get(self._head)])

    def confirmed(self, response: pb.TxnResponse) -> int | None:
        """The index of the log's last command; None: the term is over."""
        if not response.succeeded:
            return None
        found = response.responses[0].response_range.kvs
        return int(found[0].value) if found else 0

    def write_chunk(self, term: int, index: int, number: int, chunk: bytes) -> pb.TxnRequest:
        return pb.TxnRequest(compare=[self._leads(term)], success=[_put(self._chunk_key(index, number), chunk)])

    def adopt_snapshot(self, term: int, pointer: SnapshotPointer, keep_after: int) -> pb.TxnRequest:
        """The chunks are there: from now on it is the snapshot. Entries up to `keep_after` and older chunks go."""
        return pb.TxnRequest(
            compare=[self._leads(term)],
            success=[
                _put(self._snapshot, _encode(pointer)),
                _delete(self._log, self._log_key(keep_after + 1)),
                _delete(self._chunks, self._chunk_key(pointer.last_included_index, 0)),
            ],
        )

    def read_chunk(self, pointer: SnapshotPointer, number: int) -> pb.TxnRequest:
        """See `chunk`."""
        return pb.TxnRequest(success=[_get(self._chunk_key(pointer.last_included_index, number))])

    def chunk(self, response: pb.TxnResponse) -> bytes | None:
        """None: there is a newer snapshot by now."""
        found = response.responses[0].response_range.kvs
        return found[0].value if found else None

    def _read_log(self, after: int, limit: int) -> pb.RequestOp:
        key, end = self._log_key(after + 1), self._log_end
        return pb.RequestOp(request_range=pb.RangeRequest(key=key, range_end=end, limit=limit))

    def _leads(self, term: int) -> pb.Compare:
        return pb.Compare(target=pb.Compare.CREATE, key=self._leader, create_revision=term)

    def _log_key(self, index: int) -> bytes:
        # Keys are ordered as bytes.
        return self._log + b"%016x" % index

    def _index_of(self, log_key: bytes) -> int:
        return int(log_key.removeprefix(self._log), 16)

    def _chunk_key(self, index: int, number: int) -> bytes:
        return self._chunks + b"%016x/%08x" % (index, number)


def _get(key: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key))


def _put(key: bytes, value: bytes, lease_id: int = 0) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease_id))


def _delete(key: bytes, range_end: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=range_end))


def _is_absent(key: bytes) -> pb.Compare:
    return pb.Compare(target=pb.Compare.VERSION, key=key, version=0)


def _has_value(key: bytes, value: bytes) -> pb.Compare:
    return pb.Compare(target=pb.Compare.VALUE, key=key, value=value)
