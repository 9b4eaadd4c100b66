"""A cluster of nodes in virtual time. Everything follows from the seed: the same seed, the same trace.

First the safety phase: faults of every kind while clients propose and read. Then all is healed and restarted, and the
liveness phase must elect a leader, commit new commands and bring every log and every state to the same end.
"""

import contextlib
import dataclasses
import gc
import random
from collections import Counter
from collections.abc import Iterator
from unittest import mock

from tests.simulation.faults import Faults
from tests.simulation.invariants import Invariants
from tests.simulation.loop import SimulatedLoop, end_process, join_cluster
from tests.simulation.machines import Commands
from tests.simulation.network import SimulatedNetwork
from tests.simulation.node import ELECTION_TIMEOUT_MS, SimulatedNode, World
from utils.raft.core.messages import Message
from utils.raft.io import (
    node as node_module,
    owner as owner_module,
    snapshots as snapshots_module,
    writer as writer_module,
)

# Longer, if too little has happened by then for the run to count.
SAFETY_PHASE_US = 5_500_000
SAFETY_PHASE_US_MAX = 15_000_000
LIVENESS_PHASE_US = 3_000_000
_JOINING_US_MAX = 10_000_000
_LONGEST_BETWEEN_REQUESTS_US = 50_000

COMMITTED_MIN = 100
ELECTIONS_MIN = 2
RESTARTS_MIN = 1


class SimulationFailed(AssertionError):
    """Carries the seed and the command that plays it again."""

    def __init__(self, seed: int, time_us: int, why: BaseException) -> None:
        super().__init__(
            f"seed {seed} failed at {time_us / 1e6:.3f} s: {type(why).__name__}: {why}\n"
            f"replay it with: python -m tests.simulation --seed {seed}"
        )
        self.seed = seed


@dataclasses.dataclass(frozen=True)
class Report:
    """What happened in the safety phase; the trace and the time are those of the whole run."""

    seed: int
    nodes: int
    commands_committed: int
    elections: int
    happened: dict[str, int]
    outcomes: dict[str, int]
    crash_points: dict[str, int]
    trace: int = 0
    simulated_s: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether enough happened for the run to prove anything."""
        return (
            self.commands_committed >= COMMITTED_MIN
            and self.elections >= ELECTIONS_MIN
            and self.happened.get("restarts", 0) >= RESTARTS_MIN
        )


class Simulation:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = rng = random.Random(seed)
        self._loop = SimulatedLoop()
        self._is_healed = self._is_quiet = False
        node_ids = [f"node_{number}" for number in range(1, rng.choice((3, 3, 3, 5)) + 1)]
        self.invariants = Invariants(lambda: {node_id: node.durable_logs for node_id, node in self.nodes.items()})
        self.world = World(
            rng,
            self._loop,
            self.invariants,
            Commands(rng),
            node_ids,
            snapshot_entries=rng.choice((10, 30, 100)),
            snapshot_log_bytes=rng.choice((2_000, 100_000)),
        )
        self.nodes = self.world.nodes
        for node_id in (*node_ids, "spare_1", "spare_2"):
            self.nodes[node_id] = SimulatedNode(node_id, self.world)
        self._network = SimulatedNetwork(rng, self._loop, self._deliver)
        self._faults = Faults(self.world, self._network, list(self.nodes.values()))

    def run(self) -> Report:
        """Raises SimulationFailed."""
        try:
            with without_garbage_collection(), processes_that_can_end():
                for node in self.nodes.values():
                    node.network = self._network
                    if not node.is_spare:
                        node.start()
                self._faults.begin()
                self._request_for_ever()
                self._run_for(SAFETY_PHASE_US)
                while not (report := self._report()).counts and self._loop.now_us < SAFETY_PHASE_US_MAX:
                    self._run_for(SAFETY_PHASE_US // 7)
                self._is_healed = True
                self._faults.end()
                self._live()
        # Whatever stops a run, be it an invariant or a crash of the core, is a finding that must name its seed.
        except Exception as error:
            raise SimulationFailed(self._seed, self._loop.now_us, error) from error
        return dataclasses.replace(report, trace=self._network.trace, simulated_s=self._loop.now_us / 1e6)

    def _report(self) -> Report:
        return Report(
            seed=self._seed,
            nodes=len(self.world.node_ids),
            commands_committed=self.invariants.commands_committed,
            elections=self.invariants.elections,
            happened=dict(self.world.happened),
            outcomes=dict(self.invariants.outcomes),
            crash_points=dict(sum((node.files.cuts for node in self.nodes.values()), start=Counter())),
        )

    def _live(self) -> None:
        """The clients go on; everybody must catch up with what is committed at half-time, and something must be."""
        self._let_in_who_joins()
        outcomes = self.invariants.outcomes
        before = outcomes["result"], outcomes["read"]
        self._run_for(LIVENESS_PHASE_US // 2)
        half_time_index = self.invariants.committed_index
        self._run_for(LIVENESS_PHASE_US // 2)
        assert outcomes["result"] > before[0], "nothing is committed though all is well"
        assert outcomes["read"] > before[1], "no read is done though all is well"
        for node in self._members():
            assert node.raft is not None
            applied = node.raft.status.last_applied
            assert applied >= half_time_index, f"{node.node_id} applied {applied} of {half_time_index} entries"
        self._hand_over()
        self._converge()

    def _let_in_who_joins(self) -> None:
        end_us = self._loop.now_us + _JOINING_US_MAX
        while joining := [node.node_id for node in self.nodes.values() if node.is_joining]:
            assert self._loop.now_us < end_us, f"{joining} are not let in though all is well"
            self._run_for(LIVENESS_PHASE_US // 10)

    def _hand_over(self) -> None:
        """When all is well, leadership goes where it is sent, in less time than an election takes to begin."""
        leader = self._leader()
        assert leader.core is not None
        voters = [node_id for node_id in leader.core.configuration.voters if node_id != leader.node_id]
        target = self.nodes[self._rng.choice(voters)]
        leader.transfer_leadership(target.node_id)
        self._run_for(ELECTION_TIMEOUT_MS * 1_000)
        assert target.leads, f"{target.node_id} does not lead though leadership was handed to it"

    def _leader(self) -> SimulatedNode:
        [leader] = [node for node in self.nodes.values() if node.raft is not None and node.raft.status.ready]
        return leader

    def _members(self) -> list[SimulatedNode]:
        """As the leader knows them."""
        core = self._leader().core
        assert core is not None
        return [self.nodes[node_id] for node_id in core.configuration.members]

    def _converge(self) -> None:
        """Without clients all nodes come to one state."""
        self._is_quiet = True
        self._run_for(LIVENESS_PHASE_US // 4)
        for node in self._members():
            assert node.raft is not None
            assert node.machine is not None
            applied = node.raft.status.last_applied
            assert applied == self.invariants.committed_index, f"{node.node_id} stays at {applied}"
            self.invariants.compare_state(node.node_id, applied, node.machine)

    def _request_for_ever(self) -> None:
        if not self._is_quiet:
            self._request()
            # Once enough has happened, or all is well, the time is better spent on other seeds.
            many = self._is_healed or self.invariants.commands_committed > 2 * COMMITTED_MIN
            longest = _LONGEST_BETWEEN_REQUESTS_US * (5 if many else 1)
            self._loop.schedule(self._rng.randint(1, longest), self._request_for_ever)

    def _request(self) -> None:
        """At whoever believes to lead, deposed leaders included."""
        leaders = [node for node in self.nodes.values() if node.leads]
        if not leaders:
            return
        node = self._rng.choice(leaders)
        choice = self._rng.random()
        # A healed cluster is seldom asked: each time for all that it has to answer.
        if choice < 0.2 or self._is_healed:
            node.read()
        if choice >= 0.26 or self._is_healed:
            for _ in range(self._rng.randint(1, 4)):
                node.propose()
        elif 0.2 <= choice < 0.25:
            node.propose_in_another_term()
        elif choice >= 0.25:
            node.transfer_leadership(self._rng.choice((None, *self.nodes)))

    def _deliver(self, message: Message) -> None:
        self.nodes[message.recipient].deliver(message)

    def _run_for(self, duration_us: int) -> None:
        self._loop.run_until(self._loop.now_us + duration_us)


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """It costs a quarter of the time, and ends what killed processes left at moments that no seed knows of."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def processes_that_can_end() -> Iterator[None]:
    """A simulated process ends, and the one that simulates it goes on; and it joins without a real network."""
    with contextlib.ExitStack() as stack:
        for module in (node_module, owner_module, snapshots_module, writer_module):
            stack.enter_context(mock.patch.object(module, "end_process", end_process))
        stack.enter_context(mock.patch.object(node_module, "join_cluster", join_cluster))
        yield
