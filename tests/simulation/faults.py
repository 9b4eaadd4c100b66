"""What goes wrong: power cuts at every point of a disk's work, restarts, pauses, partitions, bad networks and disks."""

from collections.abc import Callable, Sequence

from tests.simulation.loop import AFTER_WORK, BEFORE_WORK
from tests.simulation.network import SimulatedNetwork
from tests.simulation.node import SimulatedNode, World
from utils.raft.core.configuration import Remove

_LONGEST_BETWEEN_FAULTS_US = 1_500_000
_LONGEST_FAULT_US = 1_500_000
_LONGEST_WEATHER_US = 3_000_000

# Where the power may fail on purpose, and not just at any time: those of simulations/disk.py, and around all of them.
CRASH_POINTS = (
    BEFORE_WORK,
    AFTER_WORK,
    *(f"{what} {file}" for what in ("create", "write", "sync", "rename", "remove") for file in ("log", "snapshot")),
    "sync names",
)


class Faults:
    def __init__(self, world: World, network: SimulatedNetwork, nodes: Sequence[SimulatedNode]) -> None:
        self._world = world
        self._rng = world.rng
        self._network = network
        self._nodes = nodes
        self._is_over = False
        self._is_any_replaced = False
        self._strikes = (
            self._cut_power_of_one,
            self._cut_power_at_a_point,
            self._cut_power_at_a_point,
            self._cut_power_of_all,
            self._kill_one,
            self._shut_one_down,
            self._stop_one,
            self._stop_one,
            self._partition,
            self._partition,
            self._break_links,
            self._clog_links,
            self._fill_a_disk,
            self._fail_a_sync,
            self._add_a_node,
            self._add_a_node,
            self._remove_a_node,
            self._replace_a_node,
            self._suspect_a_leader,
        )

    def begin(self) -> None:
        for node in self._nodes:
            node.went_down = self._went_down
        self._change_weather()
        self._soon(_LONGEST_BETWEEN_FAULTS_US, self._strike)

    def end(self) -> None:
        """All is well again, and stays so."""
        self._is_over = True
        self._network.heal()
        self._network.loss = self._network.duplication = 0.0
        self._network.delay_us_max = 1_000
        for node in self._nodes:
            node.sync_us_max = 1_000
            node.files.is_full = False
            node.files.cuts_at = node.files.fails_at = None
            self._revive(node)

    def _strike(self) -> None:
        if self._is_over:
            return
        self._rng.choice(self._strikes)()
        self._soon(_LONGEST_BETWEEN_FAULTS_US, self._strike)

    def _soon(self, longest_us: int, action: Callable[..., None], *args: object) -> None:
        self._world.loop.schedule(self._rng.randint(1, longest_us), action, *args)

    def _went_down(self, node: SimulatedNode) -> None:
        """For whatever reason: somebody starts it again."""
        self._soon(1_000 if self._is_over else _LONGEST_FAULT_US, self._revive, node)

    def _revive(self, node: SimulatedNode) -> None:
        if node.is_spare:
            return
        if node.process is None:
            node.start()
            self._world.happened["restarts"] += 1
        elif node.process.is_stopped:
            node.resume()

    def _victim(self) -> SimulatedNode:
        """Leaders are worth more attention than others."""
        leaders = [node for node in self._nodes if node.leads]
        return self._rng.choice(leaders if leaders and self._rng.random() < 0.5 else self._nodes)

    def _change_weather(self) -> None:
        """Up to delays beyond an election timeout, so that the past keeps coming back."""
        if self._is_over:
            return
        self._network.loss = self._rng.choice((0.0, 0.01, 0.1, 0.3))
        self._network.duplication = self._rng.choice((0.0, 0.05, 0.5))
        self._network.delay_us_max = self._rng.choice((1_000, 10_000, 50_000, 200_000))
        for node in self._nodes:
            node.sync_us_max = self._rng.choice((1_000, 20_000, 200_000))
        self._soon(_LONGEST_WEATHER_US, self._change_weather)

    # Nodes

    def _cut_power_of_one(self) -> None:
        node = self._victim()
        if node.process is not None:
            node.cut_power()

    def _cut_power_of_all(self) -> None:
        for node in self._nodes:
            if node.process is not None:
                node.cut_power()

    def _cut_power_at_a_point(self) -> None:
        """When the node comes there next."""
        self._victim().files.cuts_at = self._rng.choice(CRASH_POINTS)

    def _kill_one(self) -> None:
        node = self._victim()
        if node.process is not None:
            node.kill()

    def _shut_one_down(self) -> None:
        node = self._victim()
        if node.process is not None and not node.process.is_stopped:
            node.shut_down()

    def _stop_one(self) -> None:
        node = self._victim()
        if node.process is not None:
            node.stop()
            self._soon(_LONGEST_FAULT_US, self._revive, node)

    # Members

    def _add_a_node(self) -> None:
        spares = [node for node in self._nodes if node.is_spare]
        if spares:
            spares[0].is_spare = False
            spares[0].start()

    def _remove_a_node(self) -> None:
        """Also a leader; never below three voters. It is not told to stop: it may disrupt the others, if it can."""
        for leader in [node for node in self._nodes if node.leads]:
            assert leader.core is not None
            voters = list(leader.core.configuration.voters)
            if len(voters) > 3:
                leader.change_membership(Remove(self._rng.choice(voters)), done=lambda: None)

    def _replace_a_node(self) -> None:
        """One at a time, or more would be lost than a majority can bear: here, one in a run."""
        if not self._is_any_replaced:
            self._is_any_replaced = True
            self._rng.choice([node for node in self._nodes if not node.is_spare]).lose_disk()
            self._world.happened["lost disks"] += 1

    def _suspect_a_leader(self) -> None:
        """Without reason."""
        for node in self._nodes:
            if node.raft is not None and node.core is not None and node.core.leader_id is not None:
                node.raft._owner.tell(lambda core: core.suspect(core.leader_id or ""))

    # Disks

    def _fill_a_disk(self) -> None:
        node = self._victim()
        node.files.is_full = True
        self._soon(_LONGEST_FAULT_US, self._empty_a_disk, node)

    def _empty_a_disk(self, node: SimulatedNode) -> None:
        node.files.is_full = False

    def _fail_a_sync(self) -> None:
        self._victim().files.fails_at = self._rng.choice(("sync log", "sync snapshot", "sync names"))

    # The network

    def _partition(self) -> None:
        """Two sides that do not hear each other; sometimes one node stands on both."""
        nodes = [node.node_id for node in self._nodes]
        self._rng.shuffle(nodes)
        cut = self._rng.randint(1, len(nodes) - 1)
        bridge = self._rng.randint(0, 1)
        self._network.separate(nodes[:cut], nodes[cut + bridge :])
        self._soon(_LONGEST_FAULT_US, self._network.heal)

    def _break_links(self) -> None:
        """Each in one direction only."""
        for sender, recipient in self._some_links():
            self._network.break_link(sender, recipient)
        self._soon(_LONGEST_FAULT_US, self._network.heal)

    def _clog_links(self) -> None:
        """Everything on them waits, and comes at once."""
        for sender, recipient in self._some_links():
            self._network.clog(sender, recipient)
        self._soon(_LONGEST_FAULT_US, self._network.heal)

    def _some_links(self) -> list[tuple[str, str]]:
        pairs = [self._rng.sample(self._nodes, 2) for _ in range(self._rng.randint(1, len(self._nodes)))]
        return [(sender.node_id, recipient.node_id) for sender, recipient in pairs]
