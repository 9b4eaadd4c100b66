"""Whether a learner keeps up with its leader (dissertation, section 4.2.1).

Replication to it goes in rounds, each of what the log held when the round began. Once a round was shorter than an
election timeout, the learner would hold up commitment no longer than an election does, if it became a voter.
"""


class CatchUp:
    def __init__(self, last_index: int, ticks_max: int) -> None:
        """The first round: to the end of the log as it is now. `ticks_max`: of a round that is short."""
        self._target = last_index
        self._ticks_max = ticks_max
        self._ticks = 0
        self._was_short = False

    @property
    def is_done(self) -> bool:
        return self._was_short and self._ticks <= self._ticks_max

    def tick(self) -> None:
        self._ticks += 1

    def matched(self, match_index: int, last_index: int) -> None:
        """The learner has the log up to `match_index`, and the leader up to `last_index`."""
        if match_index < self._target:
            return
        self._was_short = self._ticks <= self._ticks_max
        self._target, self._ticks = last_index, 0
