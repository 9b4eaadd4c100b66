"""Records what real processes answer under faults, and checks that it is linearizable.

python -m tests.linearizability [--rounds N] [--seed N]

Each round inflicts every fault of faults.py on the leader of three database nodes, then of three queue nodes.
"""

import argparse
import asyncio
import random
import tempfile
from pathlib import Path

from tests.linearizability import queue, register


async def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.linearizability", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    arguments = parser.parse_args()
    print(f"--rounds {arguments.rounds} --seed {arguments.seed}", flush=True)
    for name, run in (("register", register.run), ("queue", queue.run)):
        with tempfile.TemporaryDirectory(prefix=f"bookstore-{name}-") as directory:
            print(f"{name}: {await run(Path(directory), rounds=arguments.rounds, seed=arguments.seed)}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
