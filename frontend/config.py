"""The page server's configuration."""

from dataclasses import dataclass

from utils.config import variable


@dataclass(frozen=True, kw_only=True)
class Config:
    node_id: str = variable("NODE_ID", default="frontend")
    bind_host: str = variable("BIND_HOST", default="0.0.0.0")
    port: int = variable("PORT", default=8080, minimum=0, maximum=65535)
    # Where browsers find the orchestrator, on the page's own host.
    orchestrator_port: int = variable("ORCHESTRATOR_PORT", default=8081, minimum=1, maximum=65535)
