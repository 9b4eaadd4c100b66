"""The routes that tell an order's story."""

from typing import Final

from flask import Blueprint, Response, g, request

from orchestrator.answers import json_response
from orchestrator.problems import ComponentUnavailable, OrderNotFound, RequestInvalid
from orchestrator.story import OrderStory, Stories, clock_answer, shiviz_answer, trace_answer
from utils.domain.order import ORDER_ID

_FORMATS: Final = ("json", "shiviz")


class StoryRoutes:
    def __init__(self, stories: Stories) -> None:
        self._stories = stories

    def blueprint(self) -> Blueprint:
        routes = Blueprint("story", __name__)
        routes.get("/v2/orders/<order_id>/trace")(self.get_trace)
        routes.get("/v2/orders/<order_id>/clock")(self.get_clock)
        return routes

    def get_trace(self, order_id: str) -> Response:
        return json_response(trace_answer(self._story(order_id)))

    def get_clock(self, order_id: str) -> Response:
        wanted = request.args.get("format", "json")
        if wanted not in _FORMATS:
            raise RequestInvalid(f"format should be one of {', '.join(_FORMATS)}.")
        story = self._story(order_id)
        if wanted == "json":
            return json_response(clock_answer(story))
        if story.missing:
            # A log has no place to say that it is not whole.
            raise ComponentUnavailable(f"{', '.join(story.missing)} cannot be asked just now. Please try again.")
        return Response(shiviz_answer(story), mimetype="text/plain")

    def _story(self, order_id: str) -> OrderStory:
        if not ORDER_ID.fullmatch(order_id):
            raise OrderNotFound("No order has such an id.")
        g.order_id = order_id
        return self._stories.story(order_id)
