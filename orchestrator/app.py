"""The Flask application: routes, CORS, and every error as JSON."""

import time
from collections.abc import Sequence

from flask import Flask, Response, g, request
from flask_cors import CORS
from werkzeug.exceptions import HTTPException

from orchestrator.answers import error_answer, json_response, problem_response
from orchestrator.checkout import Checkout
from orchestrator.discovery import Discovery
from orchestrator.edge import PROBLEM
from orchestrator.problems import Problem
from orchestrator.readiness import Readiness
from orchestrator.routes import Routes
from orchestrator.shelf import Shelf
from orchestrator.story import Stories
from orchestrator.story_routes import StoryRoutes
from utils.observe.logging import get_logger

log = get_logger()

_CODES = {404: "not_found", 405: "method_not_allowed"}
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/books", "/books/search", "/books/recommendations"})


def create_app(
    checkout: Checkout,
    shelf: Shelf,
    discovery: Discovery,
    stories: Stories,
    readiness: Readiness,
    *,
    cors_origins: Sequence[str],
) -> Flask:
    """The application over its parts; pages from `cors_origins` may call it from a browser."""
    app = Flask(__name__, static_folder=None)
    # A path is what it is: no redirect to another spelling of it.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.register_blueprint(Routes(checkout, shelf, discovery, readiness).blueprint())
    app.register_blueprint(StoryRoutes(stories).blueprint())
    CORS(
        app,
        origins=list(cors_origins),
        allow_headers=["Content-Type", "Idempotency-Key", "Prefer"],
        expose_headers=["Location", "Preference-Applied", "Retry-After"],
        max_age=600,
    )
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _defect)
    app.before_request(_begin)
    app.after_request(_log_response)
    return app


def _http_error(error: HTTPException) -> Response:
    """404, 405 and whatever else the framework says, as JSON and with its headers."""
    status = error.code or 500
    code = _CODES.get(status, "bad_request" if status < 500 else "internal")
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Retry-After"}}
    return json_response(error_answer(code, error.description or error.name), status=status, headers=headers)


def _defect(error: Exception) -> Response:
    # The traceback shows no local variables, and no exception here carries a request's values.
    log.error("a request failed", exc_info=error, method=request.method, route=str(request.url_rule))
    return json_response(
        error_answer("internal", "Something went wrong on our side; your request was not rejected."), status=500
    )


def _begin() -> None:
    """Raises the Problem that the edge found, if it did."""
    g.began_at = time.monotonic()
    if (problem := request.environ.get(PROBLEM)) is not None:
        raise problem


def _log_response(response: Response) -> Response:
    # Of what it refused, the edge tells how often: a flood shall not fill the log.
    if PROBLEM in request.environ:
        return response
    if request.path not in _QUIET_PATHS or response.status_code >= 500:
        log.info(
            "response sent",
            method=request.method,
            route=str(request.url_rule),
            status=response.status_code,
            order_id=g.get("order_id"),
            duration_ms=round((time.monotonic() - g.get("began_at", time.monotonic())) * 1_000, 1),
        )
    return response
