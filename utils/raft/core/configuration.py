"""Who belongs to a cluster, and how that changes by one server at a time (dissertation, chapter 4).

Any majority of a configuration shares a server with any majority of the one before it, since they differ by one voter:
so no two leaders can be elected, and no entry committed, one by each, whoever has already seen the change.
"""

from collections.abc import Iterable, Mapping

import msgspec

from utils.raft.core.messages import Entry, EntryKind
from utils.raft.errors import MembershipRefusedError

MEMBERS_MAX = 31
_TEXT_LENGTH_MAX = 255
_PORT_MAX = 65_535
_CONFIGURATION = EntryKind.CONFIGURATION


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """Node ids, and host:port of each. The data of a CONFIGURATION entry: a field may only be added at the end.

    Learners get the log and snapshots. They neither vote in elections nor count for commitment.
    """

    voters: dict[str, str] = {}
    learners: dict[str, str] = {}

    @property
    def members(self) -> dict[str, str]:
        return self.voters | self.learners

    def encoded(self) -> bytes:
        return msgspec.msgpack.encode(self)


class AddLearner(msgspec.Struct, frozen=True, tag=True):
    """A new node gets the log. Again, with another address: it has moved."""

    node_id: str
    address: str


class Promote(msgspec.Struct, frozen=True, tag=True):
    """A learner that keeps up becomes a voter."""

    node_id: str


class Remove(msgspec.Struct, frozen=True, tag=True):
    """A node takes no further part; whoever is no member has been removed already."""

    node_id: str


class Move(msgspec.Struct, frozen=True, tag=True):
    """A member has another address."""

    node_id: str
    address: str


Change = AddLearner | Promote | Remove | Move

_decode = msgspec.msgpack.Decoder(Configuration).decode


def configuration_of(data: bytes) -> Configuration:
    """Raises ValueError."""
    try:
        configuration = _decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"a configuration cannot be read: {error}") from error
    if not configuration.voters or configuration.voters.keys() & configuration.learners.keys():
        raise ValueError("a configuration has voters, and none of them is a learner")
    return configuration


def changed(configuration: Configuration, change: Change) -> Configuration:
    """The configuration after the change; the same object if it changes nothing. Raises MembershipRefusedError."""
    voters, learners = configuration.voters, configuration.learners
    node_id = change.node_id
    match change:
        case AddLearner(address=address):
            if not is_node_id(node_id):
                raise MembershipRefusedError(f"a node id has from 1 to {_TEXT_LENGTH_MAX} printable characters")
            _check_address(address)
            if node_id in voters:
                raise MembershipRefusedError(f"{node_id} is a voter; if it has lost its disk, remove it first")
            if len(configuration.members) >= MEMBERS_MAX and node_id not in learners:
                raise MembershipRefusedError(f"a cluster has at most {MEMBERS_MAX} nodes")
            after = Configuration(voters, {**learners, node_id: address})
        case Promote():
            if node_id not in configuration.members:
                raise MembershipRefusedError(f"{node_id} is not a learner; add it first")
            after = Configuration({**voters, node_id: configuration.members[node_id]}, _without(learners, node_id))
        case Remove():
            after = Configuration(_without(voters, node_id), _without(learners, node_id))
            if not after.voters:
                raise MembershipRefusedError(f"{node_id} is the last voter; the cluster would be gone")
        case Move(address=address):
            _check_address(address)
            if node_id not in configuration.members:
                raise MembershipRefusedError(f"{node_id} is not a member")
            after = Configuration(_moved(voters, node_id, address), _moved(learners, node_id, address))
    return configuration if after == configuration else after


class Configurations:
    """Those of one log: the newest is in force from the moment it is appended, committed or not (dissertation, 4.1)."""

    def __init__(self, index: int, configuration: Configuration) -> None:
        """`configuration`: as of `index`, which is committed."""
        self._history = [(index, configuration)]

    @property
    def latest(self) -> Configuration:
        return self._history[-1][1]

    @property
    def latest_index(self) -> int:
        """Of the entry that the newest one came with."""
        return self._history[-1][0]

    def appended(self, entries: Iterable[Entry], commit_index: int) -> None:
        """Looks for one among new entries. Of those before, only what may have to come back is kept."""
        for entry in entries:
            if entry.kind is not _CONFIGURATION:
                continue
            while len(self._history) > 1 and self._history[1][0] <= commit_index:
                del self._history[0]
            self._history.append((entry.index, configuration_of(entry.data)))

    def truncated_from(self, index: int) -> None:
        """Falls back to what was in force before."""
        while self._history[-1][0] >= index:
            del self._history[-1]


def _without(nodes: Mapping[str, str], node_id: str) -> dict[str, str]:
    return {other: address for other, address in nodes.items() if other != node_id}


def _moved(nodes: Mapping[str, str], node_id: str, address: str) -> dict[str, str]:
    return {other: address if other == node_id else old for other, old in nodes.items()}


def is_node_id(text: str) -> bool:
    return 0 < len(text) <= _TEXT_LENGTH_MAX and text.isprintable()


def is_address(text: str) -> bool:
    """Whether it looks like host:port."""
    host, _, port = text.rpartition(":")
    return is_node_id(host) and port.isdecimal() and port.isascii() and 0 < int(port[:6]) <= _PORT_MAX


def _check_address(text: str) -> None:
    if not is_address(text):
        raise MembershipRefusedError(f"an address is host:port, not {text[:_TEXT_LENGTH_MAX]!r}")
