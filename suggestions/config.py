"""The configuration of suggestions."""

from dataclasses import dataclass

from utils.config import variable
from utils.generative_ai.config import GenerativeAiConfig


@dataclass(frozen=True, kw_only=True)
class Config(GenerativeAiConfig):
    node_id: str = variable("NODE_ID", default="suggestions")
    bind_host: str = variable("BIND_HOST", default="0.0.0.0")
    port: int = variable("PORT", default=50053, minimum=0, maximum=65535)
    # PostgreSQL with pgvector.
    database_url: str = variable("DATABASE_URL", secret=True)
    # Of the database cluster, host:port each: whether a book is sold out.
    db_nodes: tuple[str, ...] = variable("DB_NODES")
    # Both give the same vectors; sentence-transformers needs torch.
    embedder: str = variable("EMBEDDER", default="numpy", choices=("numpy", "sentence-transformers"))
