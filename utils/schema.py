"""Tables in PostgreSQL, each group with its version: who connects brings them to its own, forward only.

Steps are never changed once they are released, only followed by others. A program that finds a later version than it
knows treats the database as one that is away, and says why: checkout works without it.
"""

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from utils.formats import FormatTooNewError

# An arbitrary number that everybody who makes tables agrees on: CREATE ... IF NOT EXISTS alone is a race.
_LOCK: Final = 7_402_115
_VERSIONS: Final = """
CREATE TABLE IF NOT EXISTS schema_versions (
    component  text NOT NULL,
    version    integer NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (component, version)
)
"""


async def migrate(connection: psycopg.AsyncConnection[Any], component: str, steps: Sequence[bytes]) -> None:
    """Runs the steps that this database has not seen, all of them or none; step n leads to version n.

    The first is repeatable: databases may have its tables from before versions were written down. Raises psycopg.Error;
    psycopg.NotSupportedError for a later version than the last step's.
    """
    async with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await cursor.execute(_VERSIONS)
        query = "SELECT coalesce(max(version), 0) FROM schema_versions WHERE component = %s"
        row = await (await cursor.execute(query, (component,))).fetchone()
        assert row is not None
        version: int = row[0]
        if version > len(steps):
            where = "table schema_versions in PostgreSQL"
            raise psycopg.NotSupportedError(str(FormatTooNewError(component, version, len(steps), where)))
        for number, step in enumerate(steps[version:], version + 1):
            await cursor.execute(step)
            await cursor.execute("INSERT INTO schema_versions VALUES (%s, %s)", (component, number))
