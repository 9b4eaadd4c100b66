"""What a proposal or a read can end with, when it does not end with a result. The whole tree."""


class RaftError(Exception):
    """Any of these."""


class NotLeaderError(RaftError):
    """This node does not lead, or not in the term that was asked for. Nothing was proposed: safe to send elsewhere."""

    def __init__(self, leader_id: str | None, leader_address: str | None) -> None:
        super().__init__(f"not the leader; the leader is {leader_id or 'not known'}")
        self.leader_id = leader_id
        self.leader_address = leader_address


class ProposalDroppedError(RaftError):
    """Another entry is committed at the proposal's index: the command will never be applied. Safe to send again."""


class OutcomeUnknownError(RaftError):
    """Leadership was lost, or the node stops, while the command was in flight: it may still be committed."""


class ProposalRefusedError(RaftError):
    """Nothing was proposed: too many proposals are in flight, or the command is too large."""


class MembershipRefusedError(RaftError):
    """The cluster cannot change so; nothing was changed. The message says what to do first."""


class MembershipBusyError(RaftError):
    """The cluster cannot change yet: another change is in flight, or the leader is too new. Nothing was changed."""


class TransferFailedError(RaftError):
    """Leadership was not handed over: there is nobody to take it, or the target has not taken it in time."""


class LogDamagedError(RaftError):
    """A file of the log is damaged before its last record. The node must not start."""

    def __init__(self, path: str, offset: int, why: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {offset} ({why}); the node does not start with it. "
            "To rebuild it from its peers: move its data directory away, start it with RAFT_JOIN=<host:port of another "
            "node>, and run `python -m bookstore cluster replace <cluster> <node>`"
        )
        self.path = path
        self.offset = offset
