"""`python -m bookstore db` against the processes of the database."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.integration.db_node.database_cluster import TIMEOUT_S, DatabaseProcesses, database_processes

pytestmark = pytest.mark.slow


async def db(*arguments: str) -> tuple[int, str, str]:
    """The status, what was printed, and what was complained about."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bookstore", "db", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaint = await asyncio.wait_for(process.communicate(), 3 * TIMEOUT_S)
    assert process.returncode is not None
    return process.returncode, output.decode(), complaint.decode()


def nodes(processes: DatabaseProcesses) -> tuple[str, str]:
    return "--nodes", ",".join(processes.addresses)


async def test_a_person_reads_and_writes_while_the_primary_dies(tmp_path: Path) -> None:
    async with database_processes(tmp_path) as processes:
        primary = (await processes.until(lambda status: status.is_primary and status.keys)).node_id
        at = nodes(processes)
        assert await db(*at, "set", "stock:Book A", "7") == (0, "stock:Book A = 7 (version 2)\n", "")
        await processes.kill(primary)
        assert await db(*at, "take", "Book A", "3") == (0, "4 copies of Book A are left\n", "")
        status, table, _ = await db(*at, "get", "stock:Book A")
        assert (status, table.splitlines()[1].split()) == (0, ["stock:Book", "A", "4", "3", "0"])
        status, table, _ = await db(*at, "list", "stock:Book ")
        assert (status, len(table.splitlines())) == (0, 7)
        status, table, _ = await db(*at, "list", "stock:Book ", "--stale")
        assert status == 0
        assert "ms old" in table
        status, table, _ = await db(*at, "status")
        assert status == 0
        rows = table.splitlines()[1:]
        assert len([row for row in rows if "primary" in row]) == 1
        assert len([row for row in rows if " - " in row]) == 1


async def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path) -> None:
    async with database_processes(tmp_path) as processes:
        await processes.until(lambda status: status.is_primary and status.keys)
        at = nodes(processes)
        for arguments, complaint in (
            (("get", "stock:Nowhere"), "not_found"),
            (("set", "stock:Book A", "1", "--if-version", "9"), "failed_precondition"),
            (("set", "stock:Book A", "-1"), "invalid_argument"),
            (("take", "Book F", "2"), "failed_precondition"),
        ):
            status, output, complained = await db(*at, *arguments)
            assert (status, output) == (1, ""), arguments
            assert complaint in complained
            assert complained.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--nodes", "nowhere", "status"), "is not host:port"),
        (("--nodes", "127.0.0.1:1", "status"), "no node answers"),
        (("take", "Book A", "many"), "invalid int value"),
    ],
)
async def test_a_mistake_is_explained(arguments: tuple[str, ...], complaint: str) -> None:
    status, _, complained = await db(*arguments)
    assert status != 0
    assert complaint in complained


async def test_without_a_bookstore_it_says_what_to_do(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bookstore", "--data-dir", str(tmp_path), "db", "status"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, complained = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    assert process.returncode == 1
    assert b"make up" in complained
