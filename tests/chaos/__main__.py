"""Breaks a bookstore of its own while clients order, heals it, and checks every promise against the clients' log.

The last line is one JSON object; the exit status is 1 where a promise was broken or the run proves nothing.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.machines import Machines
from tests.chaos.processes import Processes
from tests.chaos.run import LUCK, Plan, new_seed, run
from tests.containers.compose import Compose
from tests.containers.machines import Containers


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long faults go on")
    parser.add_argument("--cycles", type=int, help="how many faults there are, however long they take")
    parser.add_argument("--seed", type=int, help="replays the schedule of an earlier run")
    parser.add_argument("--containers", action="store_true", help="the bookstore of the compose file, in containers")
    parser.add_argument("--keep", action="store_true", help="keep logs and history of a run without violations too")
    arguments = parser.parse_args()
    seed = new_seed() if arguments.seed is None else arguments.seed
    directory = Path(tempfile.mkdtemp(prefix="bookstore-chaos-"))
    plan = Plan(seed, arguments.seconds, arguments.cycles, "--containers" if arguments.containers else "")
    with _machines(directory, in_containers=arguments.containers) as machines:
        verdict = run(plan, machines, directory, lambda line: print(line, flush=True))
    if verdict.passed and not arguments.keep:
        shutil.rmtree(directory)
    else:
        print(f"logs, history and evidence are in {directory}")
    print(verdict.summary())
    return 0 if verdict.passed else 1


@contextmanager
def _machines(directory: Path, *, in_containers: bool) -> Iterator[Machines]:
    if in_containers:
        with Compose("--profile", "chaos") as compose:
            yield Containers(compose)
    else:
        with Processes(directory, LUCK) as processes:
            yield processes


if __name__ == "__main__":
    sys.exit(main())
