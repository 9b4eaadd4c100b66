"""What a user of utils.raft brings: the state machine that every node of its cluster applies the same commands to."""

from typing import Any, Protocol


class StateMachine(Protocol):
    """Deterministic: no clock, no randomness, no I/O. Called by one task only, in the order of the log."""

    def apply(self, index: int, command: bytes) -> Any:
        """Applies a committed command; the value goes to whoever proposed it on this node.

        A command that cannot be carried out returns a value that says so. Raises nothing but FormatTooNewError.
        """

    def snapshot(self) -> bytes:
        """The whole state."""

    def restore(self, snapshot: bytes) -> None:
        """Replaces the whole state. Raises FormatTooNewError."""
