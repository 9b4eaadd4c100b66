"""Every way in which a question gets no answer. Each is a reason to fall back, never a reason to fail an order."""

import enum


class Failure(enum.StrEnum):
    """What went wrong; the name is also that of its counter."""

    # Not asked at all.
    LOADING = "loading"
    BUSY = "busy"
    CIRCUIT_OPEN = "circuit_open"
    NO_TIME = "no_time"
    # Asked, and got nothing.
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    HTTP = "http"
    # Asked, and got nothing of use.
    EMPTY = "empty"
    MALFORMED = "malformed"
    WRONG_SCHEMA = "wrong_schema"


class GenerativeAiError(Exception):
    """There is no answer. The message is for the log: it quotes neither the question nor the answer."""

    def __init__(self, failure: Failure, detail: str = "") -> None:
        super().__init__(f"{failure}: {detail}" if detail else str(failure))
        self.failure = failure
        self.detail = detail
