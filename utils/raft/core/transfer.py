"""Handing leadership over (dissertation, section 3.10).

The leader takes no more proposals, brings the target's log up to date and tells it to start an election at once.
Nothing of this touches safety: the target wins a term of its own, or it does not.
"""


class Transfer:
    """To `target`, for at most `ticks`: if it is down, the leader must go on."""

    def __init__(self, target: str, ticks: int) -> None:
        self.target = target
        self._ticks_left = ticks
        self._is_told = False

    def tick(self) -> bool:
        """Whether the time is over."""
        self._ticks_left -= 1
        return self._ticks_left <= 0

    def repeat(self) -> None:
        """What the target was told may be lost."""
        self._is_told = False

    def take_turn(self) -> bool:
        """Whether to tell the target now, once."""
        is_told, self._is_told = self._is_told, True
        return not is_told
