import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer

# Before numpy is loaded: on a busy machine OpenBLAS is ten times slower with a thread for each core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    # Not tmp_path: a socket's path has a limit that pytest's nested names exceed.
    with tempfile.TemporaryDirectory(prefix="bookstore-") as directory:
        server = PostgresServer(Path(directory))
        server.start()
        yield server
        server.stop()
