import os
from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer, running_postgres

# Before numpy is loaded: on a busy machine OpenBLAS is ten times slower with a thread for each core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server
