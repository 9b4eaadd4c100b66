"""`python -m tests.formats`: writes the golden files of versions that have none yet, and changes no other."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.formats.written import GOLDEN, written, written_rows
from tests.support.postgres import PostgresServer


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bookstore-") as directory:
        made = written(Path(directory))
        postgres = PostgresServer(Path(directory))
        postgres.start()
        made |= asyncio.run(written_rows(postgres.dsn))
        postgres.stop()
    released = [
        name for name, data in made.items() if (GOLDEN / name).exists() and (GOLDEN / name).read_bytes() != data
    ]
    for name in released:
        print(f"{name} differs from what is written now: give the changed format its next version (docs/formats.md)")
    for name in sorted(name for name in made if not (GOLDEN / name).exists()):
        (GOLDEN / name).write_bytes(made[name])
        print(f"{name} is new")
    return 1 if released else 0


if __name__ == "__main__":
    sys.exit(main())
