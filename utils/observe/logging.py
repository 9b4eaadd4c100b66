"""Structured logs: one JSON object a line on standard error, a constant message plus fields.

Card data never reaches a log because it is never given to one; as a second wall, fields with such names are masked.
"""

import logging
import sys
from dataclasses import dataclass
from typing import Any

import structlog

from utils.config import from_environment, variable

_MASKED = frozenset({"card", "card_number", "number", "cvv", "iban", "bank_account", "password", "api_key", "secret"})


def _mask(_logger: Any, _method: str, event: Any) -> Any:
    for name in _MASKED & event.keys():
        event[name] = "***"
    return event


@dataclass(frozen=True)
class LogConfig:
    # Of what libraries say, more than WARNING is told only at DEBUG.
    level: str = variable("LOG_LEVEL", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))


def configure_logging(service: str, node_id: str) -> None:
    """Called once, first, in every `__main__`. Tracebacks are plain text and show no local variables.

    Raises ConfigError.
    """
    level = from_environment(LogConfig).level

    def identify(_logger: Any, _method: str, event: Any) -> Any:
        event.update(service=service, node_id=node_id)
        return event

    shared: list[Any] = [
        identify,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _mask,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries that log by the standard library end in the same format.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level if level == "DEBUG" else "WARNING", force=True)


def get_logger() -> Any:
    """A logger: `log.info("order enqueued", order_id=..., epoch=...)`."""
    return structlog.get_logger()
