"""What is explored: how many leaders, orders and attempts, and which faults beside those of the network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """What is explored. `attempts`: how many each leader may start, by order."""

    name: str
    leaders: int = 2
    attempts: tuple[int, ...] = (2,)
    # Orders, by number, that payment declines; all others it accepts.
    declined: tuple[int, ...] = ()
    has_power_cuts: bool = False
    has_lost_disk: bool = False
    copies: int = 1
    # Leaders by Bully, whose log is fenced by an epoch; else by Raft.
    by_bully: bool = False
    # Of what is too big to be explored to its end.
    states_max: int | None = None

    @property
    def order_ids(self) -> tuple[str, ...]:
        return tuple(f"{number:032x}" for number in range(1, len(self.attempts) + 1))

    @property
    def declined_ids(self) -> frozenset[str]:
        return frozenset(self.order_ids[number - 1] for number in self.declined)
