"""`python -m tests.integration.order_executor.crashing_executor <crash point> <first participant> <signal> <marker>`

An executor's process that sends itself SIGKILL or SIGSTOP at a crash point, if it is the first to come there. Stopped
and continued, it goes on from that very point.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from order_executor.config import ExecutorConfig
from order_executor.node import ExecutorNode
from tests.integration.order_executor.crash_points import CrashPoint, Trap, install
from utils.config import from_environment
from utils.observe.logging import configure_logging
from utils.rpc.service import run_service


class SignalTrap(Trap):
    """One for all processes: the marker file says who was caught."""

    def __init__(
        self, point: CrashPoint, first: str, signal_number: signal.Signals, marker: Path, node_id: str
    ) -> None:
        super().__init__(point, first)
        self._signal = signal_number
        self._marker = marker
        self._node_id = node_id

    @property
    def is_armed(self) -> bool:
        return not self._marker.exists()

    async def crash(self) -> None:
        # A rename, so that nobody reads an empty marker.
        written = self._marker.with_name(f"{self._marker.name}-{self._node_id}")
        written.write_text(self._node_id)
        written.rename(self._marker)
        os.kill(os.getpid(), self._signal)


async def main(stopping: asyncio.Event) -> None:
    config = from_environment(ExecutorConfig)
    configure_logging("order_executor", config.node_id)
    point, first, signal_name, marker = sys.argv[1:]
    node = ExecutorNode(config)
    install(node, SignalTrap(CrashPoint(point), first, signal.Signals[signal_name], Path(marker), config.node_id))
    await node.run(stopping)


if __name__ == "__main__":
    run_service(main)
