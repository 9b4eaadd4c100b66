"""What a chaos run needs of the bookstore that it breaks, whatever that runs on."""

from collections.abc import Callable, Mapping
from typing import Protocol

from tests.chaos.schedule import Kind

# Named nodes, none of them meaning all, and how long it lasts in seconds. Over when it returns: everything that was
# taken is given back, though it may still be starting.
Harm = Callable[[list[str], float], None]


class Machines(Protocol):
    """A bookstore of a run's own: where its parts are, how they are, and what can be done to them."""

    @property
    def harms(self) -> Mapping[Kind, Harm]:
        """The faults that can be carried out here."""

    @property
    def shop_port(self) -> int:
        """Where the orchestrator listens; it may change when everything was started again."""

    @property
    def database_url(self) -> str:
        """Of PostgreSQL."""

    def address(self, name: str) -> str:
        """host:port of a process, at this moment."""

    def absent(self) -> list[str]:
        """Those that do not run."""

    def unhealthy(self) -> list[str]:
        """Those that do not say that they serve."""
