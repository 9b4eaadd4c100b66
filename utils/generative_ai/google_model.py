"""Google's generative AI through google-genai. Imported only where there is a key: it takes seconds and some 65 MB."""

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2
from google import genai
from google.genai import errors, types

from utils.generative_ai.config import GenerativeAiConfig
from utils.generative_ai.errors import Failure, GenerativeAiError

ANSWER_TOKENS_MAX: Final = 1_024
# Far above any answer of so many tokens.
RESPONSE_BYTES_MAX: Final = 256 * 1_024


class _BoundedStream(httpx2.AsyncByteStream):
    """A response's body, up to RESPONSE_BYTES_MAX."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in self._stream:
            received += len(chunk)
            if received > RESPONSE_BYTES_MAX:
                raise GenerativeAiError(Failure.MALFORMED, f"more than {RESPONSE_BYTES_MAX} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx2.Response) -> None:
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _BoundedStream(response.stream)


class GoogleModel:
    """One HTTP client with its pool of connections. Belongs to one event loop."""

    def __init__(self, config: GenerativeAiConfig) -> None:
        self._name = config.google_model
        self._http = httpx2.AsyncClient(
            # Compressed, a few bytes could become any number.
            headers={"Accept-Encoding": "identity"},
            limits=httpx2.Limits(max_connections=config.ai_calls_max),
            event_hooks={"response": [_bound]},
        )
        self._client = genai.Client(
            api_key=config.google_api_key,
            # Said, so that no variable of the environment turns it into another service.
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=config.google_api_base_url or None,
                httpx_async_client=self._http,
                timeout=round(config.ai_timeout_s * 1_000),
                # An order does not wait for a second try.
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )

    async def generate(self, system_instruction: str, message: str, schema: dict[str, Any]) -> str:
        """The model's answer as text. Raises GenerativeAiError."""
        try:
            response = await self._client.aio.models.generate_content(
                model=self._name,
                contents=message,
                config=types.GenerateContentConfig(
                    system_instruction=system_instruction,
                    temperature=0,
                    candidate_count=1,
                    max_output_tokens=ANSWER_TOKENS_MAX,
                    response_mime_type="application/json",
                    response_json_schema=schema,
                ),
            )
            text = response.text
        except errors.APIError as error:
            raise GenerativeAiError(Failure.HTTP, f"status {error.code}") from None
        except httpx2.TimeoutException:
            raise GenerativeAiError(Failure.TIMEOUT) from None
        except httpx2.HTTPError as error:
            raise GenerativeAiError(Failure.CONNECTION, type(error).__name__) from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # What google-genai raises for a body that is no JSON, or not the JSON of its API.
            raise GenerativeAiError(Failure.MALFORMED, type(error).__name__) from None
        if not text:
            # Blocked by a filter, or cut off before it began.
            raise GenerativeAiError(Failure.EMPTY)
        return text

    async def close(self) -> None:
        await self._client.aio.aclose()
        await self._http.aclose()
