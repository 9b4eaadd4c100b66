import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    # Not tmp_path: a socket's path has a limit that pytest's nested names exceed.
    with tempfile.TemporaryDirectory(prefix="bookstore-") as directory:
        server = PostgresServer(Path(directory))
        server.start()
        yield server
        server.stop()
