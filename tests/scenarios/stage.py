"""A cluster of whole nodes in virtual time, as in the simulation, where nothing goes wrong but what the test says."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.invariants import Invariants
from tests.simulation.loop import SimulatedLoop
from tests.simulation.machines import Commands
from tests.simulation.network import SimulatedNetwork
from tests.simulation.node import SimulatedNode, World
from utils.raft.core.messages import Message
from utils.raft.io.node import RaftNode


class Stage:
    def __init__(self, *, snapshot_entries: int = 1_000) -> None:
        rng = random.Random(1)
        self.loop = SimulatedLoop()
        self.invariants = Invariants(lambda: {node.node_id: node.durable_logs for node in self.nodes})
        node_ids = ["node_1", "node_2", "node_3"]
        self.world = World(
            rng, self.loop, self.invariants, Commands(rng), node_ids, snapshot_entries, snapshot_log_bytes=2**20
        )
        self.nodes = [SimulatedNode(node_id, self.world) for node_id in node_ids]
        self._network = SimulatedNetwork(rng, self.loop, self._deliver)
        for node in self.nodes:
            node.network = self._network
            node.start()

    def run(self, seconds: float) -> None:
        self.loop.run_until(self.loop.now_us + round(seconds * 1e6))

    def run_while(self, condition: Callable[[], bool], seconds_max: float = 10.0) -> None:
        end_us = self.loop.now_us + round(seconds_max * 1e6)
        while condition():
            assert self.loop.now_us < end_us, f"nothing changed in {seconds_max} s"
            self.run(0.01)

    def leader(self, *, other_than: SimulatedNode | None = None) -> SimulatedNode:
        """Once there is one that is ready."""
        candidates = [node for node in self.nodes if node is not other_than]
        self.run_while(lambda: not any(node.raft is not None and node.raft.status.ready for node in candidates))
        return next(node for node in candidates if node.raft is not None and node.raft.status.ready)

    def others(self, node: SimulatedNode) -> list[SimulatedNode]:
        return [other for other in self.nodes if other is not node]

    def ask(self, node: SimulatedNode, what: Callable[[RaftNode], Coroutine[Any, Any, Any]]) -> "asyncio.Task[Any]":
        """A caller in the node's own process."""
        assert node.raft is not None
        assert node.process is not None
        return node.process.context.run(self.loop.create_task, what(node.raft))

    def propose(self, node: SimulatedNode, *, timeout_s: float = 1_000.0) -> "asyncio.Task[Any]":
        """A command that no other is like."""
        command = self.world.commands.next()[1]
        return self.ask(node, lambda raft: raft.propose(command, timeout_s=timeout_s))

    def cut_off(self, node: SimulatedNode) -> None:
        self._network.separate([node.node_id], [other.node_id for other in self.others(node)])

    def mute(self, node: SimulatedNode) -> None:
        """It hears, and is not heard."""
        for other in self.others(node):
            self._network.break_link(node.node_id, other.node_id)

    def deafen(self, node: SimulatedNode) -> None:
        """It is heard, and does not hear."""
        for other in self.others(node):
            self._network.break_link(other.node_id, node.node_id)

    def clog(self, node: SimulatedNode) -> None:
        """What it sends is held up until all is healed."""
        for other in self.others(node):
            self._network.clog(node.node_id, other.node_id)

    def heal(self) -> None:
        self._network.heal()

    def all_agree(self) -> None:
        """Everybody comes to one state."""
        last = self.invariants.committed_index
        for node in self.nodes:
            self.run_while(lambda node=node: node.raft is None or node.raft.status.last_applied < last)  # type: ignore[misc]
            assert node.machine is not None
            assert node.raft is not None
            self.invariants.compare_state(node.node_id, node.raft.status.last_applied, node.machine)

    def _deliver(self, message: Message) -> None:
        next(node for node in self.nodes if node.node_id == message.recipient).deliver(message)
