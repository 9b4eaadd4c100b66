"""What is measured of each cluster."""

import asyncio
import random
import signal
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from benchmarks.raft.cluster import Cluster, LostLeadershipError
from benchmarks.raft.load import Figures

IN_FLIGHT = (1, 16, 64, 1024)
_WARM_UP_S = 1.0
_TRIES = 3
# Between failovers, so that the leader dies at any moment between two heartbeats.
_REST_S = (0.5, 1.0)
_FILL_IN_FLIGHT = 256


@dataclass
class Runner:
    """How long each phase is, and who is told of its outcome."""

    seconds: float
    failovers: int
    entries: int
    say: Callable[[str], None]
    # Loads that began again because there was an election in the middle of them.
    elections_under_load: int = field(default=0)

    async def loads(self, cluster: Cluster) -> dict[str, Figures]:
        figures = {}
        for in_flight in IN_FLIGHT:
            await self._load(cluster, lambda count=in_flight: cluster.load(count, seconds=_WARM_UP_S))  # type: ignore[misc]
            figures[str(in_flight)] = await self._load(
                cluster,
                lambda count=in_flight: cluster.load(count, seconds=self.seconds),  # type: ignore[misc]
            )
            self.say_figures(f"{cluster.name}, {in_flight} in flight", figures[str(in_flight)])
        return figures

    async def failover(
        self, cluster: Cluster, where: str, number: signal.Signals = signal.SIGKILL, *, part: float = 1.0
    ) -> dict[str, float]:
        """Seconds from the signal to the leader to the first commit of a command that was given after it.

        `part`: of the failovers that were asked for.
        """
        gaps_s = []
        for _ in range(max(1, round(self.failovers * part))):
            await cluster.first_commit()
            await asyncio.sleep(random.uniform(*_REST_S))
            await cluster.find_leader()
            struck_at = time.perf_counter()
            await cluster.strike_leader(number)
            await cluster.first_commit()
            gaps_s.append(time.perf_counter() - struck_at)
            await cluster.start()
            await cluster.settled()
        median_s, max_s = statistics.median(gaps_s), max(gaps_s)
        self.say(
            f"{cluster.name}, {where}, {number.name} to the leader {len(gaps_s)} times: "
            f"{median_s:.2f} s without a leader (median), {max_s:.2f} s at most"
        )
        return {"median": round(median_s, 3), "max": round(max_s, 3)}

    async def restart_s(self, cluster: Cluster, where: str) -> float:
        """From the start of three killed processes that hold so many entries to the first commit."""
        await cluster.start()
        await cluster.first_commit()
        await self._load(cluster, lambda: cluster.load(_FILL_IN_FLIGHT, count=self.entries))
        await cluster.kill()
        started_at = time.perf_counter()
        await cluster.start()
        await cluster.first_commit()
        seconds = round(time.perf_counter() - started_at, 2)
        self.say(f"{cluster.name}, {self.entries} entries, {where}: {seconds:.2f} s from the start to the first commit")
        return seconds

    def say_figures(self, what: str, figures: Figures) -> None:
        self.say(f"{what}: {figures.commits_per_s:.0f} commits/s, p50 {figures.p50_ms} ms, p99 {figures.p99_ms} ms")

    async def _load(self, cluster: Cluster, load: Callable[[], Awaitable[Figures]]) -> Figures:
        for _ in range(_TRIES):
            await cluster.first_commit()
            try:
                return await load()
            except LostLeadershipError as error:
                self.elections_under_load += 1
                self.say(f"{cluster.name}: an election during a load, which begins again ({error})")
        raise RuntimeError(f"{cluster.name} has no stable leader under load")


def summary(loads: dict[str, Figures], **more: Any) -> dict[str, Any]:
    return {**{name: msgspec.to_builtins(figures) for name, figures in loads.items()}, **more}
