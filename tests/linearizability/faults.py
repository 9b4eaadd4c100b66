"""One fault after the other, each healed before the next."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Callable

from tests.linearizability.processes import ReplicatedProcesses

# Longer than any election timeout: whoever can elect another leader does.
_FAULT_S = 1.2
_HEALTHY_S = 0.4

Fault = Callable[[ReplicatedProcesses, str], contextlib.AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def kill(processes: ReplicatedProcesses, victim: str) -> AsyncIterator[None]:
    await processes.kill(victim)
    yield
    await processes.start(victim)


@contextlib.asynccontextmanager
async def pause(processes: ReplicatedProcesses, victim: str) -> AsyncIterator[None]:
    """Its clients and peers see it live, and hear nothing; it does not know that time has passed."""
    processes.signal(victim, signal.SIGSTOP)
    yield
    processes.signal(victim, signal.SIGCONT)


@contextlib.asynccontextmanager
async def isolate(processes: ReplicatedProcesses, victim: str) -> AsyncIterator[None]:
    """From its peers; clients still reach it."""
    others = [node_id for node_id in processes.node_ids if node_id != victim]
    processes.network.cut([victim], others)
    processes.network.cut(others, [victim])
    yield
    processes.network.heal()


@contextlib.asynccontextmanager
async def deafen(processes: ReplicatedProcesses, victim: str) -> AsyncIterator[None]:
    """It is heard, and hears nobody."""
    processes.network.cut([node_id for node_id in processes.node_ids if node_id != victim], [victim])
    yield
    processes.network.heal()


@contextlib.asynccontextmanager
async def mute(processes: ReplicatedProcesses, victim: str) -> AsyncIterator[None]:
    """It hears everybody, and nobody hears it."""
    processes.network.cut([victim], [node_id for node_id in processes.node_ids if node_id != victim])
    yield
    processes.network.heal()


@contextlib.asynccontextmanager
async def part(processes: ReplicatedProcesses, victim: str) -> AsyncIterator[None]:
    """From one peer; the third node hears both."""
    other = next(node_id for node_id in processes.node_ids if node_id != victim)
    processes.network.cut([victim], [other])
    processes.network.cut([other], [victim])
    yield
    processes.network.heal()


@contextlib.asynccontextmanager
async def kill_all(processes: ReplicatedProcesses, _: str) -> AsyncIterator[None]:
    for node_id in processes.node_ids:
        await processes.kill(node_id)
    for node_id in processes.node_ids:
        await processes.start(node_id)
    yield


FAULTS: tuple[Fault, ...] = (kill, pause, isolate, deafen, mute, part, kill_all)


async def inflict(processes: ReplicatedProcesses, rounds: int, choice: random.Random) -> tuple[int, int]:
    """Every fault in each round, in an order that `choice` draws, always on the leader.

    Returns how many faults there were, and how many new terms.
    """
    first_term = (await processes.leader()).term
    for _ in range(rounds):
        for fault in choice.sample(FAULTS, len(FAULTS)):
            victim = (await processes.leader()).node_id
            async with fault(processes, victim):
                await asyncio.sleep(_FAULT_S)
            await processes.leader()
            await asyncio.sleep(_HEALTHY_S)
    return rounds * len(FAULTS), (await processes.leader()).term - first_term
