"""One term of leading: what this node appends to the log, and how it confirms that it still may.

Appends go one after the other, each with all that has been proposed meanwhile. One whose answer was lost is sent
again: it finds its own entry, or room for it, or that the term is over. As each is conditional on the leader's key, a
term that is over stays over, and an entry that is not there then will never be.
"""

import asyncio
from collections import deque
from typing import Any

from utils.etcd.client import EtcdClient
from utils.etcd.errors import EtcdError
from utils.etcd.layout import Layout, SnapshotPointer
from utils.etcd.lease import Lease
from utils.etcd.replica import CALL_TIMEOUT_S, Replica
from utils.observe.logging import get_logger
from utils.raft.errors import NotLeaderError, OutcomeUnknownError, ProposalDroppedError, ProposalRefusedError
from utils.raft.io.proposals import COMMAND_BYTES_MAX, PROPOSALS_BYTES_MAX, PROPOSALS_MAX
from utils.rpc.transport import backoff_s

log = get_logger()

# Of one entry, unless a single command is larger: etcd takes requests of 1.5 MiB.
ENTRY_BYTES_MAX = 256 * 1024
CHUNK_BYTES = 512 * 1024


class TermOverError(Exception):
    """Another node leads, or nobody does."""


class _Proposal:
    def __init__(self, command: bytes) -> None:
        self.command = command
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def end(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Leadership:
    """Of `term`, as long as `lease` is held. The replica has applied everything that was appended in earlier terms."""

    def __init__(
        self,
        client: EtcdClient,
        layout: Layout,
        replica: Replica,
        lease: Lease,
        term: int,
        *,
        snapshot_entries: int,
        snapshot_log_bytes: int,
    ) -> None:
        self._client = client
        self._layout = layout
        self._replica = replica
        self.lease = lease
        self.term = term
        self._snapshot_entries = snapshot_entries
        self._snapshot_log_bytes = snapshot_log_bytes
        self._waiting: deque[_Proposal] = deque()
        self._in_flight: list[_Proposal] = []
        self._bytes = 0
        self._readers: list[asyncio.Future[None]] = []
        self._proposed = asyncio.Event()
        self._asked = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._snapshot: asyncio.Task[None] | None = None
        self.is_resigning = False

    def propose(self, command: bytes) -> asyncio.Future[Any]:
        """Of what the machine returns. Raises ProposalRefusedError."""
        if len(command) > COMMAND_BYTES_MAX:
            raise ProposalRefusedError(f"a command has at most {COMMAND_BYTES_MAX} bytes, not {len(command)}")
        if len(self._waiting) + len(self._in_flight) >= PROPOSALS_MAX:
            raise ProposalRefusedError(f"{PROPOSALS_MAX} proposals are in flight")
        if self._bytes + len(command) > PROPOSALS_BYTES_MAX:
            raise ProposalRefusedError(f"proposals of {PROPOSALS_BYTES_MAX} bytes are in flight")
        proposal = _Proposal(command)
        self._bytes += len(command)
        self._waiting.append(proposal)
        self._idle.clear()
        self._proposed.set()
        return proposal.future

    def confirm(self) -> asyncio.Future[None]:
        """Done once the term was the newest after this call, and all that was appended until then is applied."""
        reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers.append(reader)
        self._asked.set()
        return reader

    async def drained(self) -> None:
        """Returns once every proposal has its outcome."""
        await self._idle.wait()

    async def run(self) -> None:
        """Until the term is over. An exception is a defect."""
        parts = [asyncio.create_task(part) for part in (self.lease.keep_alive(), self._append(), self._confirm())]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._snapshot is not None:
                parts.append(self._snapshot)
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
        for part in done:
            error = part.exception()
            if error is not None and not isinstance(error, TermOverError):
                raise error

    def close(self, error: NotLeaderError) -> None:
        """Whoever still waits is told how things stand. After `run`."""
        for proposal in self._waiting:
            proposal.end(error)
        for proposal in self._in_flight:
            proposal.end(OutcomeUnknownError("leadership was lost before the command was committed"))
        for reader in self._readers:
            if not reader.done():
                reader.set_exception(error)
        self._waiting.clear()
        self._in_flight, self._readers = [], []
        self._idle.set()

    # Writing

    async def _append(self) -> None:
        while True:
            await self._proposed.wait()
            self._take()
            if self._in_flight:
                commands = tuple(proposal.command for proposal in self._in_flight)
                await self._write(self._replica.last_applied + 1, commands)
                self._take_snapshot_if_due()
            if not self._waiting:
                self._proposed.clear()
                self._idle.set()

    def _take(self) -> None:
        """Those that go next. Whose caller has gone is not proposed at all."""
        size = 0
        while self._waiting and (size == 0 or size + len(self._waiting[0].command) <= ENTRY_BYTES_MAX):
            proposal = self._waiting.popleft()
            if proposal.future.done():
                self._bytes -= len(proposal.command)
            else:
                size += len(proposal.command)
                self._in_flight.append(proposal)

    async def _write(self, index: int, commands: tuple[bytes, ...]) -> None:
        """Raises TermOverError."""
        response = await self._txn(self._layout.append(self.term, index, commands))
        if response.succeeded:
            self._committed(index, commands)
            return
        view = self._layout.view(response)
        found = dict(view.entries).get(index)
        if found is not None and found.term == self.term:
            # An earlier try of this append, whose answer was lost: nobody else appends in this term.
            self._committed(index, commands)
            return
        assert view.term != self.term, f"the log ends at {view.head}, and {index} was to be appended"
        if found is not None or view.head < index:
            for proposal in self._in_flight:
                proposal.end(ProposalDroppedError("another leader has followed, and the command is not in the log"))
        raise TermOverError

    def _committed(self, index: int, commands: tuple[bytes, ...]) -> None:
        results = self._replica.apply(index, commands)
        done, self._in_flight = self._in_flight, []
        for proposal, result in zip(done, results, strict=True):
            self._bytes -= len(proposal.command)
            if not proposal.future.done():
                proposal.future.set_result(result)

    # Reading

    async def _confirm(self) -> None:
        """One confirmation serves all the reads that have come so far."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            readers = list(self._readers)
            head = self._layout.confirmed(await self._txn(self._layout.confirm(self.term)))
            if head is None:
                raise TermOverError
            # More than is applied only if the answer to an append is still on its way.
            await self._replica.applied(head)
            del self._readers[: len(readers)]
            for reader in readers:
                if not reader.done():
                    reader.set_result(None)

    # Snapshots

    def _take_snapshot_if_due(self) -> None:
        replica = self._replica
        is_due = (
            replica.entries_since_snapshot >= self._snapshot_entries
            or replica.bytes_since_snapshot >= self._snapshot_log_bytes
        ) and replica.bytes_since_snapshot >= replica.snapshot_bytes
        if is_due and (self._snapshot is None or self._snapshot.done()):
            data = replica.machine.snapshot()
            replica.snapshot_taken(len(data))
            self._snapshot = asyncio.create_task(self._save(replica.last_applied, data))

    async def _save(self, index: int, data: bytes) -> None:
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        requests = [self._layout.write_chunk(self.term, index, number, chunk) for number, chunk in enumerate(chunks)]
        # A follower that lags a little need not read all of it.
        keep_after = max(0, index - self._snapshot_entries // 10)
        requests.append(self._layout.adopt_snapshot(self.term, SnapshotPointer(index, len(chunks)), keep_after))
        for request in requests:
            if not (await self._txn(request)).succeeded:
                return
        log.info("a snapshot was written", index=index, size_bytes=len(data), term=self.term)

    async def _txn(self, request: Any) -> Any:
        """Again and again: the term's end cancels it."""
        failures = 0
        while True:
            try:
                return await self._client.txn(request, timeout_s=CALL_TIMEOUT_S)
            except EtcdError as error:
                failures += 1
                if failures.bit_count() == 1:
                    log.warning("etcd does not answer", error=str(error), term=self.term, tries=failures)
                await asyncio.sleep(backoff_s(failures))
