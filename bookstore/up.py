"""`python -m bookstore up`: the whole system as local processes, until Ctrl-C."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec
from rich.console import Console

from bookstore import postgres, state
from bookstore.certificates import Certificates, Switch, call_as, without
from bookstore.health import Prober
from bookstore.supervisor import Supervised, Supervisor, tail
from bookstore.system import (
    CLUSTER_NODES,
    CLUSTER_NODES_MAX,
    DB_NODES,
    PAGE,
    ProcessSpec,
    SettingsByProcess,
    free_ports,
    ports_in_use,
    processes,
    usual_ports,
)
from bookstore.table import process_table
from utils.config import ConfigError, from_environment

# A cluster that cannot write its log steps down; better to say so before it starts.
DISK_BYTES_MIN = 500 * 1024 * 1024
READY_TIMEOUT_S = 120.0

console = Console(soft_wrap=True)


class CannotStart(Exception):
    """The system cannot start; the message says what to do about it."""


async def up(data_directory: Path, *, on_free_ports: bool, settings_file: Path | None) -> None:
    """Runs the system until SIGINT or SIGTERM. Raises CannotStart."""
    held = state.lock(data_directory)
    if held is None:
        raise CannotStart(f"a bookstore already runs in {data_directory}: `make down` stops it, `make status` shows it")
    with held:
        # What a supervisor that was killed has left says nothing of this one.
        (data_directory / state.STATE_FILE).unlink(missing_ok=True)
        ports = usual_ports(_cluster_nodes(data_directory))
        if on_free_ports:
            ports = free_ports(ports)
        own_settings = _read_settings(settings_file, ports)
        _check_machine(data_directory, ports)
        await _run(data_directory, ports, own_settings)


def _cluster_nodes(data_directory: Path) -> int:
    """How many nodes each cluster has: CLUSTER_NODES says it to a new bookstore, which keeps to it.

    A node that is told of fewer others than it had would count a minority for a majority.
    """
    text = os.environ.get("CLUSTER_NODES", "")
    if text and not (text.isdecimal() and 1 <= int(text) <= CLUSTER_NODES_MAX):
        raise CannotStart(f"CLUSTER_NODES must be from 1 to {CLUSTER_NODES_MAX}, not {text!r}")
    kept = data_directory / "cluster_nodes"
    if not kept.exists():
        # Before this file there were always so many.
        is_new = not (data_directory / DB_NODES[0]).exists()
        kept.write_text(text if text and is_new else str(CLUSTER_NODES))
    if text and text != kept.read_text():
        raise CannotStart(
            f"the clusters in {data_directory} have {kept.read_text()} nodes each, not CLUSTER_NODES={text}: "
            "`make reset` deletes them, --data-dir starts others"
        )
    return int(kept.read_text())


def _read_settings(file: Path | None, names: Collection[str]) -> SettingsByProcess:
    if file is None:
        return {}
    try:
        settings = msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, str]])
    except (OSError, msgspec.DecodeError) as error:
        raise CannotStart(f"the settings of processes in {file} cannot be read: {error}") from error
    if unknown := settings.keys() - set(names):
        raise CannotStart(f"{file} has settings of {', '.join(sorted(unknown))}, and there is no such process")
    return settings


def _check_machine(data_directory: Path, ports: Mapping[str, int]) -> None:
    free_bytes = shutil.disk_usage(data_directory).free
    if free_bytes < DISK_BYTES_MIN:
        raise CannotStart(
            f"only {free_bytes // 2**20} MB are free below {data_directory}, and the bookstore wants "
            f"{DISK_BYTES_MIN // 2**20} MB: make room, or choose another place with --data-dir"
        )
    if taken := ports_in_use(ports):
        listing = ", ".join(f"{port} ({name})" for name, port in taken.items())
        raise CannotStart(
            f"these ports are in use by another program: {listing}. "
            "Stop it, or use `python -m bookstore up --free-ports`"
        )


async def _run(data_directory: Path, ports: Mapping[str, int], own_settings: SettingsByProcess) -> None:
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    stopping, changed = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    console.print(f"Starting {len(ports)} processes; logs are in {data_directory / 'logs'}")
    database_url = postgres.database_url(data_directory, ports["postgres"])
    try:
        specs = [await asyncio.to_thread(postgres.prepare, data_directory, ports["postgres"])]
    except postgres.PostgresError as error:
        raise CannotStart(str(error)) from error
    specs += processes(data_directory, ports, database_url, own_settings)
    certificates = _certificates(data_directory, specs)
    specs = [certificates.told_to(spec) if certificates else without(spec) for spec in specs]
    tls_dir = str(certificates.operators) if certificates else ""
    call_as(tls_dir)
    prober = Prober(database_url)
    supervisor = Supervisor(specs, data_directory / "logs", prober, changed.set)
    reporter = asyncio.create_task(
        _report(
            supervisor,
            changed,
            data_directory,
            page=f"http://localhost:{ports[PAGE]}",
            tls_dir=tls_dir,
            started_at=started_at,
        )
    )
    renewing = asyncio.create_task(certificates.keep()) if certificates else None
    supervisor.start()
    try:
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait((stopped, reporter), return_when=asyncio.FIRST_COMPLETED)
        if reporter.done():
            reporter.result()
    finally:
        reporter.cancel()
        if renewing is not None:
            renewing.cancel()
        console.print("Stopping...")
        await supervisor.stop()
        await prober.close()
        (data_directory / state.STATE_FILE).unlink(missing_ok=True)
        console.print("Stopped. Orders and stock are kept: `make up` goes on with them, `make reset` deletes them.")


def _certificates(data_directory: Path, specs: list[ProcessSpec]) -> Certificates | None:
    """For MUTUAL_TLS=on: the processes have theirs when this returns."""
    try:
        if not from_environment(Switch).is_on:
            return None
    except ConfigError as error:
        raise CannotStart(str(error)) from None
    certificates = Certificates(data_directory / "identity", specs)
    certificates.give()
    return certificates


async def _report(
    supervisor: Supervisor,
    changed: asyncio.Event,
    data_directory: Path,
    *,
    page: str,
    tls_dir: str,
    started_at: float,
) -> None:
    """Shows progress, then restarts; keeps the state file true."""
    loop = asyncio.get_running_loop()
    ready, shown_healthy, shown_restarts = False, -1, dict.fromkeys(supervisor.processes, 0)
    while True:
        timeout_s = None if ready else max(0.0, started_at + READY_TIMEOUT_S - loop.time())
        try:
            await asyncio.wait_for(changed.wait(), timeout_s)
        except TimeoutError:
            raise CannotStart(_why_not_ready(supervisor, data_directory)) from None
        changed.clear()
        now = list(supervisor.processes.values())
        ready = ready or supervisor.all_healthy
        state.write_state(data_directory, _snapshot(now, page, tls_dir, ready=ready))
        for process in now:
            if process.restarts > shown_restarts[process.spec.name]:
                # The first time, then ever more seldom.
                shown_restarts[process.spec.name] = process.restarts * 2 - 1
                console.print(
                    f"[yellow]{process.spec.name} ended (status {process.exit_status}), "
                    f"{process.restarts} times so far; starting it again"
                )
        healthy = sum(process.healthy for process in now)
        if shown_healthy >= len(now):
            continue
        if healthy > shown_healthy:
            waiting = [process.spec.name for process in now if not process.healthy]
            some = ", ".join(waiting[:3]) + (", ..." if len(waiting) > 3 else "")
            console.print(f"  {healthy:2} of {len(now)} healthy" + (f", waiting for {some}" if waiting else ""))
            shown_healthy = healthy
        if supervisor.all_healthy:
            console.print(process_table(_snapshot(now, page, tls_dir, ready=True)))
            console.print(
                f"[bold green]Ready in {loop.time() - started_at:.1f} s:[/] open [bold]{page}[/]  (Ctrl-C stops)"
            )


def _snapshot(now: list[Supervised], page: str, tls_dir: str, *, ready: bool) -> state.SystemState:
    return state.SystemState(
        pid=os.getpid(),
        ready=ready,
        page=page,
        processes=tuple(
            state.ProcessState(process.spec.name, process.spec.port, process.pid, process.healthy, process.restarts)
            for process in now
        ),
        tls_dir=tls_dir,
    )


def _why_not_ready(supervisor: Supervisor, data_directory: Path) -> str:
    lines = [f"not ready after {READY_TIMEOUT_S:.0f} s:"]
    for process in supervisor.processes.values():
        if not process.healthy:
            log = data_directory / "logs" / f"{process.spec.name}.log"
            lines.append(f"{process.spec.name} is not healthy; the end of {log}:\n{tail(log, 5)}")
    return "\n".join(lines)


def main(data_directory: Path, *, on_free_ports: bool, settings_file: Path | None) -> None:
    """The command; exits with status 1 and a message when the system cannot start."""
    try:
        asyncio.run(up(data_directory, on_free_ports=on_free_ports, settings_file=settings_file))
    except CannotStart as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
