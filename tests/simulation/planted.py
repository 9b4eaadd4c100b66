"""All planted bugs."""

from tests.simulation import planted_elections, planted_replication, planted_runtime, planted_storage

PLANTED_BUGS = (*planted_elections.BUGS, *planted_replication.BUGS, *planted_storage.BUGS, *planted_runtime.BUGS)
