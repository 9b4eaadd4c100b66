"""The real client, at a fake service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from utils.generative_ai.circuit_breaker import CircuitBreaker
from utils.generative_ai.client import GenerativeAi, open_generative_ai
from utils.generative_ai.config import GenerativeAiConfig

KEY = "AIza-not-a-real-key"


@asynccontextmanager
async def client(url: str, breaker: CircuitBreaker | None = None, **settings: Any) -> AsyncIterator[GenerativeAi]:
    """Loaded; `settings` are fields of the configuration."""
    ai = open_generative_ai(GenerativeAiConfig(google_api_key=KEY, google_api_base_url=url, **settings))
    assert ai is not None
    if breaker is not None:
        ai._breaker = breaker
    await ai.load()
    try:
        yield ai
    finally:
        await ai.close()
