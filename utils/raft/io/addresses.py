"""Where other nodes are reached: at what they say themselves, at what the configuration says, or the environment."""

from collections.abc import Mapping

# Members, and some who are no members or not yet.
NODES_HEARD_MAX = 64


class Addresses:
    """host:port by node id. A node that has moved says so in whatever it sends, before the configuration knows."""

    def __init__(self, node_id: str, environment: Mapping[str, str]) -> None:
        """`environment`: as this node was started with; its own address is in there."""
        self.own = environment[node_id]
        self._node_id = node_id
        self._environment = environment
        self._heard: dict[str, str] = {node_id: self.own}
        self.configured: Mapping[str, str] = environment

    def heard(self, node_id: str, address: str) -> None:
        """`node_id` says that this is where it is."""
        if self._heard.get(node_id) == address:
            return
        if node_id not in self._heard and len(self._heard) >= NODES_HEARD_MAX:
            del self._heard[next(other for other in self._heard if other != self._node_id)]
        self._heard[node_id] = address

    def of(self, node_id: str) -> str | None:
        """Where it is most likely; None if nobody has said."""
        return self._heard.get(node_id) or self.configured.get(node_id) or self._environment.get(node_id)

    def candidates(self, node_id: str) -> list[str]:
        """Where it may be, the most likely first."""
        sources = (self._heard, self.configured, self._environment)
        return list(dict.fromkeys(source[node_id] for source in sources if source.get(node_id)))

    def moved(self) -> dict[str, str]:
        """The members that say they are elsewhere than the configuration has them."""
        return {
            node_id: self._heard[node_id]
            for node_id, configured in self.configured.items()
            if self._heard.get(node_id, configured) != configured
        }
