"""The bounds of what the core puts into one message, one Ready, or on the way to one peer."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    # Of one AppendEntries; a single larger entry still travels, alone.
    entries_per_message: int = 1024
    bytes_per_message: int = 512 * 1024
    # AppendEntries with entries that one peer has not yet acknowledged.
    messages_in_flight: int = 16
    # So that applying a long log after a restart does not keep the owner from its heartbeats.
    committed_per_ready: int = 1024
    # Of the data of a snapshot in one InstallSnapshot.
    bytes_per_chunk: int = 256 * 1024
