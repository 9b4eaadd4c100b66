"""Asks a model, within bounds: a hard deadline, so many calls at a time, and none while it keeps failing.

    ai = open_generative_ai(config)
    try:
        answer = await ai.ask(RISK, features, timeout_s=1.0)
    except GenerativeAiError:
        ...  # the rules alone

Whoever asks has a fallback. What is asked holds no card, no name, no contact and no address.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final, Protocol

from utils.generative_ai.circuit_breaker import CircuitBreaker
from utils.generative_ai.config import GenerativeAiConfig
from utils.generative_ai.errors import Failure, GenerativeAiError
from utils.generative_ai.question import AnswerT, Question, document, parse
from utils.observe.counters import count
from utils.observe.logging import get_logger

log = get_logger()

# With less time than this, asking would only cost.
TIMEOUT_S_MIN: Final = 0.02
# These are nobody's fault: they are counted, and the log says little.
_NOT_ASKED: Final = frozenset({Failure.LOADING, Failure.BUSY, Failure.CIRCUIT_OPEN, Failure.NO_TIME})


class Model(Protocol):
    """Turns a message into text."""

    async def generate(self, system_instruction: str, message: str, schema: dict[str, Any]) -> str:
        """Raises GenerativeAiError."""
        ...

    async def close(self) -> None: ...


class GenerativeAi:
    """Belongs to one event loop. Counts `generative_ai.<question>.<answered | abandoned | a Failure>`."""

    def __init__(
        self,
        open_model: Callable[[], Model],
        config: GenerativeAiConfig,
        *,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        """`open_model` may block for seconds: it is called in a thread, by `load`."""
        self._open_model = open_model
        self._config = config
        self._breaker = breaker or CircuitBreaker()
        self._model: Model | None = None
        self._in_flight = 0

    async def load(self) -> None:
        """Opens the model; until then every question is answered by LOADING. Does not fail."""
        try:
            self._model = await asyncio.to_thread(self._open_model)
        except Exception as error:  # noqa: BLE001 (whatever a library raises for a key, a URL or a proxy)
            # Its message might quote the key.
            log.warning("generative AI cannot be used: the fallback answers", cause=type(error).__name__)
        else:
            log.info("generative AI is ready", model=self._config.google_model)

    async def ask(
        self,
        question: Question[AnswerT],
        data: object,
        *,
        timeout_s: float,
        valid: Callable[[AnswerT], bool] = lambda _: True,
    ) -> AnswerT:
        """One answer that has its form and is `valid`, within `timeout_s` and the configured timeout.

        Cancelled, it ends the call at once. Raises GenerativeAiError, which is counted and logged already.
        """
        try:
            answer = await self._ask(question, data, min(timeout_s, self._config.ai_timeout_s), valid)
        except GenerativeAiError as error:
            self._count(question, error.failure)
            tell = log.debug if error.failure in _NOT_ASKED else log.warning
            tell("generative AI gave no answer", question=question.name, failure=error.failure, detail=error.detail)
            raise
        except asyncio.CancelledError:
            self._count(question, "abandoned")
            raise
        self._count(question, "answered")
        return answer

    async def close(self) -> None:
        if self._model is not None:
            await self._model.close()

    async def _ask(
        self, question: Question[AnswerT], data: object, timeout_s: float, valid: Callable[[AnswerT], bool]
    ) -> AnswerT:
        if self._model is None:
            raise GenerativeAiError(Failure.LOADING)
        if timeout_s < TIMEOUT_S_MIN:
            raise GenerativeAiError(Failure.NO_TIME)
        if self._in_flight >= self._config.ai_calls_max:
            raise GenerativeAiError(Failure.BUSY)
        clock = asyncio.get_running_loop().time
        if (ticket := self._breaker.begin(clock())) is None:
            raise GenerativeAiError(Failure.CIRCUIT_OPEN)
        self._in_flight += 1
        try:
            text = await self._generate(self._model, question, data, timeout_s)
            answer = parse(question, text, valid)
        except GenerativeAiError:
            self._breaker.fail(ticket, clock())
            raise
        except BaseException:
            # Above all a cancellation.
            self._breaker.abandon(ticket)
            raise
        finally:
            self._in_flight -= 1
        self._breaker.succeed(ticket)
        return answer

    async def _generate(self, model: Model, question: Question[AnswerT], data: object, timeout_s: float) -> str:
        marker = f"DATA-{secrets.token_hex(8)}"
        try:
            async with asyncio.timeout(timeout_s) as scope:
                return await model.generate(
                    question.system_instruction(marker), document(data, marker), question.schema()
                )
        except TimeoutError:
            task = asyncio.current_task()
            assert task is not None
            if task.cancelling():
                # Whoever asked left in the same moment.
                raise asyncio.CancelledError from None
            if not scope.expired():
                raise
            raise GenerativeAiError(Failure.TIMEOUT, f"{timeout_s:.2f} s") from None

    @staticmethod
    def _count(question: Question[Any], outcome: str) -> None:
        count(f"generative_ai.{question.name}.{outcome}")


def open_generative_ai(config: GenerativeAiConfig) -> GenerativeAi | None:
    """None without a key. Load it in the background: a service that starts does not wait for it."""
    if not config.google_api_key:
        log.info("no GOOGLE_API_KEY: rules and static lists only")
        return None

    def open_model() -> Model:
        # Only here, and only with a key: see google_model.
        from utils.generative_ai.google_model import GoogleModel  # noqa: PLC0415

        return GoogleModel(config)

    return GenerativeAi(open_model, config)
