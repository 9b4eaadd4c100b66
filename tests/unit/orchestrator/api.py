"""utils/api/bookstore.yaml as tests use it: which answers an operation may give, and whether one is such an answer."""

from pathlib import Path
from typing import Any, cast

import yaml
from flask import Response
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

FILE = Path(__file__).parents[3] / "utils/api/bookstore.yaml"
API: dict[str, Any] = yaml.safe_load(FILE.read_text())
METHODS = ("get", "post", "put", "patch", "delete")
_URI = "urn:bookstore"
_REGISTRY: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(API))


def operations() -> set[tuple[str, str]]:
    """(method, path), for example ("get", "/v2/orders/{orderId}")."""
    return {(method, path) for path, item in API["paths"].items() for method in item if method in METHODS}


def resolve(value: dict[str, Any]) -> dict[str, Any]:
    """What a $ref points at, or the value itself."""
    while "$ref" in value:
        target: Any = API
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        value = target
    return value


def schema(pointer: str) -> Draft202012Validator:
    """A validator for what is at a JSON pointer of the file."""
    return Draft202012Validator({"$ref": f"{_URI}#{pointer}"}, registry=_REGISTRY)


def check_answer(method: str, path: str, response: Response) -> None:
    """Raises AssertionError or ValidationError for an answer that the file does not describe."""
    answers = API["paths"][path][method]["responses"]
    status = str(response.status_code)
    assert status in answers, f"{method} {path} does not describe {status}: {response.get_data(as_text=True)}"
    answer = resolve(answers[status])
    assert response.mimetype == "application/json"
    described = answer["content"]["application/json"]["schema"]
    validator = Draft202012Validator(cast("dict[str, Any]", _absolute(described)), registry=_REGISTRY)
    validator.validate(response.get_json())
    for header in ("Location", "Retry-After", "Preference-Applied"):
        assert header not in response.headers or header in answer.get("headers", {}), f"{header} is not described"


def _absolute(value: object) -> object:
    """With references that can be followed from outside the file."""
    if isinstance(value, dict):
        return {name: f"{_URI}{member}" if name == "$ref" else _absolute(member) for name, member in value.items()}
    return [_absolute(element) for element in value] if isinstance(value, list) else value
