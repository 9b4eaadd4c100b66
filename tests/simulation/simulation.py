"""A cluster of cores in virtual time. Everything follows from the seed: the same seed, the same trace.

First the safety phase: faults of every kind while clients propose and read. Then all is healed and restarted, and the
liveness phase must elect a leader, commit new commands and bring every log to the same end.
"""

import dataclasses
import heapq
import itertools
import random
import zlib
from collections.abc import Callable

import msgspec

from tests.simulation.faults import Faults
from tests.simulation.invariants import Invariants
from tests.simulation.network import SimulatedNetwork
from tests.simulation.node import ELECTION_TICKS, SimulatedNode, SnapshotHabit
from utils.raft.core.messages import Message

# In units of virtual time, which mean nothing by themselves.
TICK = 10
SAFETY_PHASE = 20_000
LIVENESS_PHASE = 30 * ELECTION_TICKS * TICK

COMMITTED_MIN = 100
ELECTIONS_MIN = 2
RESTARTS_MIN = 1


class SimulationFailed(AssertionError):
    """Carries the seed and the command that plays it again."""

    def __init__(self, seed: int, time: int, why: BaseException) -> None:
        super().__init__(
            f"seed {seed} failed at time {time}: {type(why).__name__}: {why}\n"
            f"replay it with: python -m tests.simulation --seed {seed}"
        )
        self.seed = seed


@dataclasses.dataclass(frozen=True)
class Report:
    """What happened in the safety phase; the trace is that of the whole run."""

    seed: int
    nodes: int
    commands_committed: int
    elections: int
    restarts: int
    reads_confirmed: int
    snapshots_installed: int
    transfers: int
    trace: int

    @property
    def counts(self) -> bool:
        """Whether enough happened for the run to prove anything."""
        return (
            self.commands_committed >= COMMITTED_MIN
            and self.elections >= ELECTIONS_MIN
            and self.restarts >= RESTARTS_MIN
        )


class Simulation:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = random.Random(seed)
        self._now = 0
        self._trace = 0
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._commands = itertools.count()
        self._transfers = 0
        self._is_healed = False
        self._snapshot_habit = SnapshotHabit(self._rng.choice((5, 20, 100)), self._rng.choice((0, 3, 20)))
        self._node_ids = [f"node_{number}" for number in range(1, self._rng.choice((3, 3, 5)) + 1)]
        self.invariants = Invariants(lambda: [node.disk.chain for node in self.nodes.values()])
        self.nodes = {node_id: self._make_node(node_id) for node_id in self._node_ids}
        self._network = SimulatedNetwork(self._rng, self._schedule, self._deliver)
        for node in self.nodes.values():
            node.network = self._network
            node.start()
            self._every(lambda: self._rng.randint(TICK - 1, TICK + 1), node.tick)
        self._faults = Faults(self._rng, self._schedule, self._network, list(self.nodes.values()))

    def run(self) -> Report:
        """Raises SimulationFailed."""
        try:
            self._faults.begin()
            self._every(lambda: self._rng.randint(1, 4 * TICK), self._be_a_client)
            self._run_until(SAFETY_PHASE)
            report = self._report()
            self._is_healed = True
            self._faults.end()
            self._live()
        # Whatever stops a run, be it an invariant or a crash of the core, is a finding that must name its seed.
        except Exception as error:
            raise SimulationFailed(self._seed, self._now, error) from error
        return dataclasses.replace(report, trace=self._trace)

    def _report(self) -> Report:
        return Report(
            seed=self._seed,
            nodes=len(self.nodes),
            commands_committed=self.invariants.commands_committed,
            elections=self.invariants.elections,
            restarts=self._faults.restarts,
            reads_confirmed=self.invariants.reads_confirmed,
            snapshots_installed=self.invariants.snapshots_installed,
            transfers=self._transfers,
            trace=self._trace,
        )

    def _live(self) -> None:
        """The clients go on; everybody must catch up with what is committed at half-time, and something must be."""
        committed_before, reads_before = self.invariants.commands_committed, self.invariants.reads_confirmed
        self._run_until(self._now + LIVENESS_PHASE // 2)
        half_time_index = self.invariants.committed_index
        self._run_until(self._now + LIVENESS_PHASE // 2)
        assert self.invariants.commands_committed > committed_before, "nothing is committed though all is well"
        assert self.invariants.reads_confirmed > reads_before, "no read is confirmed though all is well"
        for node in self.nodes.values():
            assert node.core is not None
            applied = node.core.status.last_applied
            assert applied >= half_time_index, f"{node.node_id} applied {applied} of {half_time_index} entries"
        self._hand_over()

    def _hand_over(self) -> None:
        """When all is well, leadership goes where it is sent, in less time than an election takes to begin."""
        [leader] = [node for node in self.nodes.values() if node.core is not None and node.core.is_ready]
        target = leader.transfer_leadership(None)
        assert target is not None, "there is nobody to hand over to though all is well"
        self._run_until(self._now + ELECTION_TICKS * TICK)
        assert self.nodes[target].leads, f"{target} does not lead though leadership was handed to it"

    def _be_a_client(self) -> None:
        """Proposes and reads at whoever believes to lead, deposed leaders included."""
        leaders = [node for node in self.nodes.values() if node.leads]
        if not leaders:
            return
        node = self._rng.choice(leaders)
        choice = self._rng.random()
        if choice < 0.2:
            node.read()
        elif choice < 0.25:
            assert node.refuses_other_terms()
        elif choice < 0.26 and not self._is_healed:
            self._transfers += node.transfer_leadership(self._rng.choice((None, *self._node_ids))) is not None
        else:
            padding = b"." * self._rng.choice((0, 10, 300))
            node.propose([b"%d%b" % (next(self._commands), padding) for _ in range(self._rng.randint(1, 4))])

    def _make_node(self, node_id: str) -> SimulatedNode:
        return SimulatedNode(
            node_id,
            self._node_ids,
            rng=self._rng,
            schedule=self._schedule,
            invariants=self.invariants,
            snapshot_habit=self._snapshot_habit,
        )

    def _deliver(self, message: Message) -> None:
        self._trace = zlib.crc32(msgspec.msgpack.encode((self._now, message)), self._trace)
        self.nodes[message.recipient].deliver(message)

    def _schedule(self, delay: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self._now + delay, next(self._order), action))

    def _every(self, delay: Callable[[], int], action: Callable[[], None]) -> None:
        def again() -> None:
            action()
            self._schedule(delay(), again)

        self._schedule(delay(), again)

    def _run_until(self, end: int) -> None:
        while self._agenda[0][0] <= end:
            self._now, _, action = heapq.heappop(self._agenda)
            action()
        self._now = end
