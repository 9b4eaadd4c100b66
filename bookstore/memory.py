"""How much memory the processes of the system take: proportional set size, so that shared pages count once."""

from pathlib import Path

import psutil

from bookstore.state import SystemState


def pss_bytes(pid: int) -> int:
    """The PSS of a process and its children; 0 for one that is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_pss(member.pid) for member in family)


def memory_by_process(state: SystemState) -> dict[str, int]:
    """PSS in bytes, by process name."""
    return {process.name: pss_bytes(process.pid) for process in state.processes if process.pid is not None}


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
