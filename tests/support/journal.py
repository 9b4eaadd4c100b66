"""The simplest state machine that shows order, loss and repetition."""

import msgspec


class Journal:
    """Remembers all commands; `apply` returns the command's index and how many there are."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, index: int, command: bytes) -> tuple[int, int]:
        self.commands.append(command)
        return index, len(self.commands)

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(self.commands)

    def restore(self, snapshot: bytes) -> None:
        self.commands = msgspec.msgpack.decode(snapshot, type=list[bytes])
