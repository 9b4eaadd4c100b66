"""What the environment says about generative AI, the same to each service that asks it. Their Configs inherit it."""

from dataclasses import dataclass

from utils.config import variable


@dataclass(frozen=True, kw_only=True)
class GenerativeAiConfig:
    """Without a key nothing is asked, and nothing is imported for it."""

    google_api_key: str = variable("GOOGLE_API_KEY", default="", secret=True)
    # Empty: Google's own. For a proxy, or a fake in tests.
    google_api_base_url: str = variable("GOOGLE_API_BASE_URL", default="")
    # Google's name for the newest model of the kind that is small and answers at once.
    google_model: str = variable("GOOGLE_MODEL", default="gemini-flash-lite-latest")
    # An order waits no longer than this for the model, nor than half of what is left of its own deadline.
    ai_timeout_s: float = variable("AI_TIMEOUT_S", default=1.5, minimum=0.05, maximum=30)
    # Calls in flight; an order that finds so many goes on without.
    ai_calls_max: int = variable("AI_CALLS_MAX", default=8, minimum=1, maximum=256)
