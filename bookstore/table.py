"""The table of processes that `up` and `status` show."""

from rich.table import Table

from bookstore.state import SystemState
from bookstore.system import HOST


def process_table(system: SystemState, memory: dict[str, int] | None = None) -> Table:
    """One row a process; with `memory` (PSS in bytes by name) one column more, and their sum."""
    table = Table(box=None, pad_edge=False)
    table.add_column("process")
    table.add_column("address")
    table.add_column("pid", justify="right")
    table.add_column("health")
    table.add_column("restarts", justify="right")
    if memory is not None:
        table.add_column("PSS MB", justify="right")
    for process in system.processes:
        row = [
            process.name,
            f"{HOST}:{process.port}",
            str(process.pid or "-"),
            "[green]healthy[/]" if process.healthy else "[red]not healthy[/]",
            str(process.restarts),
        ]
        if memory is not None:
            row.append(f"{memory.get(process.name, 0) / 2**20:.0f}")
        table.add_row(*row)
    if memory is not None:
        table.add_row("all", "", "", "", "", f"{sum(memory.values()) / 2**20:.0f}", style="bold")
    return table
