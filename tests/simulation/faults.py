"""What goes wrong: power cuts, restarts, pauses, partitions of every shape, bad networks and slow disks."""

import random
from collections.abc import Sequence

from tests.simulation.network import Schedule, SimulatedNetwork
from tests.simulation.node import SimulatedNode

LONGEST_BETWEEN_FAULTS = 400
LONGEST_FAULT = 500


class Faults:
    def __init__(
        self, rng: random.Random, schedule: Schedule, network: SimulatedNetwork, nodes: Sequence[SimulatedNode]
    ) -> None:
        self._rng = rng
        self._schedule = schedule
        self._network = network
        self._nodes = nodes
        self._is_over = False
        self.restarts = 0

    def begin(self) -> None:
        self._change_weather()
        self._schedule(self._rng.randint(1, LONGEST_BETWEEN_FAULTS), self._strike)

    def end(self) -> None:
        """All is well again, and stays so."""
        self._is_over = True
        self._network.heal()
        self._network.loss = self._network.duplication = 0.0
        self._network.longest_delay = 2
        for node in self._nodes:
            node.longest_sync = 1
            self._revive(node)

    def _strike(self) -> None:
        if self._is_over:
            return
        faults = (
            self._crash_one,
            self._crash_one,
            self._crash_all,
            self._pause_one,
            self._pause_one,
            self._partition,
            self._cut_links,
            self._change_weather,
        )
        self._rng.choice(faults)()
        self._schedule(self._rng.randint(1, LONGEST_BETWEEN_FAULTS), self._strike)

    def _change_weather(self) -> None:
        """Up to delays beyond an election timeout, so that the past keeps coming back."""
        self._network.loss = self._rng.choice((0.0, 0.01, 0.1, 0.3))
        self._network.duplication = self._rng.choice((0.0, 0.05, 0.2))
        self._network.longest_delay = self._rng.choice((2, 10, 30, 150))
        for node in self._nodes:
            node.longest_sync = self._rng.choice((1, 10, 60))

    def _crash_one(self) -> None:
        self._crash(self._victim())

    def _crash_all(self) -> None:
        for node in self._nodes:
            self._crash(node)

    def _crash(self, node: SimulatedNode) -> None:
        if node.core is not None:
            node.crash()
            self._schedule(self._rng.randint(1, LONGEST_FAULT), lambda: self._revive(node))

    def _pause_one(self) -> None:
        node = self._victim()
        if node.core is not None:
            node.is_paused = True
            self._schedule(self._rng.randint(1, LONGEST_FAULT), lambda: self._revive(node))

    def _victim(self) -> SimulatedNode:
        """Leaders are worth more attention than others."""
        leaders = [node for node in self._nodes if node.leads]
        return self._rng.choice(leaders if leaders and self._rng.random() < 0.5 else self._nodes)

    def _revive(self, node: SimulatedNode) -> None:
        if node.core is None:
            node.start()
            self.restarts += 1
        elif node.is_paused:
            node.resume()

    def _partition(self) -> None:
        """Two sides that do not hear each other; sometimes one node stands on both."""
        nodes = [node.node_id for node in self._nodes]
        self._rng.shuffle(nodes)
        cut = self._rng.randint(1, len(nodes) - 1)
        bridge = self._rng.randint(0, 1)
        self._network.separate(nodes[:cut], nodes[cut + bridge :])
        self._schedule(self._rng.randint(1, LONGEST_FAULT), self._network.heal)

    def _cut_links(self) -> None:
        """Some links, each in one direction only."""
        for _ in range(self._rng.randint(1, len(self._nodes))):
            sender, recipient = self._rng.sample(self._nodes, 2)
            self._network.break_link(sender.node_id, recipient.node_id)
        self._schedule(self._rng.randint(1, LONGEST_FAULT), self._network.heal)
