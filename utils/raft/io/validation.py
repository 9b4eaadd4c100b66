"""What no node of a cluster would ever send: such a message is refused before the core sees it.

The core defends itself against what a network does to true messages: loss, delay, repetition, reordering. It believes
what they say. A message that contradicts itself is not a late one but another program's, or a damaged one.
"""

from collections.abc import Iterable

from utils.raft.core.configuration import configuration_of
from utils.raft.core.messages import (
    AppendEntriesRequest,
    AppendEntriesResponse,
    Body,
    Entry,
    EntryKind,
    InstallSnapshotRequest,
    InstallSnapshotResponse,
    Message,
    PreVoteRequest,
    PreVoteResponse,
    RequestVoteRequest,
    RequestVoteResponse,
    TimeoutNowRequest,
)

# Terms, indexes and offsets are signed 64-bit numbers in every other place, such as a configuration's or a status'.
NUMBER_MAX = 2**63 - 1
# Of a snapshot's data in one message: far above what a leader sends (core/limits.py).
CHUNK_BYTES_MAX = 4 * 1024 * 1024
# A command, and what a service's own limits may add one day.
ENTRY_BYTES_MAX = 2 * 1024 * 1024


def check_message(message: Message) -> None:
    """Raises ValueError, which says what is wrong with it."""
    body = message.body
    name = type(body).__name__
    for field in body.__struct_fields__:
        value = getattr(body, field)
        if isinstance(value, int) and not 0 <= value <= NUMBER_MAX:
            raise ValueError(f"{name}.{field} is {value}; it is from 0 to {NUMBER_MAX}")
    try:
        _check_body(body)
    except ValueError as error:
        raise ValueError(f"{name} of {message.sender!r}: {error}") from error


def _check_body(body: Body) -> None:
    match body:
        case PreVoteRequest() | RequestVoteRequest():
            _check_term(body.term)
            _check_position("the last entry", body.last_log_index, body.last_log_term, term_max=body.term - 1)
        case AppendEntriesRequest():
            _check_term(body.term)
            _check_position("the entry before", body.prev_log_index, body.prev_log_term, term_max=body.term)
            _check_entries(body.entries, body.prev_log_index, body.prev_log_term, term_max=body.term)
        case AppendEntriesResponse():
            _check_term(body.term)
            if body.conflict_term > body.term:
                raise ValueError(f"an entry of term {body.conflict_term} in term {body.term}")
        case InstallSnapshotRequest():
            _check_term(body.term)
            if body.last_included_index == 0:
                raise ValueError("a snapshot of nothing")
            _check_position("the last included entry", body.last_included_index, body.last_included_term, body.term)
            if len(body.data) > CHUNK_BYTES_MAX:
                raise ValueError(f"a chunk of {len(body.data)} bytes; it has at most {CHUNK_BYTES_MAX}")
            if body.configuration:
                configuration_of(body.configuration)
        case InstallSnapshotResponse() | TimeoutNowRequest() | RequestVoteResponse():
            _check_term(body.term)
        case PreVoteResponse():
            # A node that was never in a term refuses in term 0.
            if body.granted:
                _check_term(body.term)


def _check_term(term: int) -> None:
    if term == 0:
        raise ValueError("nobody speaks in term 0")


def _check_position(what: str, index: int, term: int, term_max: int) -> None:
    if (index == 0) != (term == 0):
        raise ValueError(f"{what} has index {index} and term {term}; both are 0, or neither")
    if term > term_max:
        raise ValueError(f"{what} is of term {term}, which is above {term_max}")


def _check_entries(entries: Iterable[Entry], index: int, term: int, term_max: int) -> None:
    """`index` and `term`: of the entry before them."""
    for entry in entries:
        if entry.index != index + 1:
            raise ValueError(f"entry {entry.index} follows {index}")
        if not term <= entry.term <= term_max or entry.term == 0:
            raise ValueError(f"entry {entry.index} is of term {entry.term}, after {term} and in {term_max}")
        if len(entry.data) > ENTRY_BYTES_MAX:
            raise ValueError(f"entry {entry.index} has {len(entry.data)} bytes; it has at most {ENTRY_BYTES_MAX}")
        if entry.kind is EntryKind.CONFIGURATION:
            configuration_of(entry.data)
        index, term = entry.index, entry.term
