"""The description and the application are one: neither knows an operation that the other does not."""

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from orchestrator import discovery
from orchestrator.app import create_app
from orchestrator.edge import BODY_BYTES_MAX
from orchestrator.json_body import decode_object
from orchestrator.problems import Problem, RequestInvalid
from orchestrator.routes import WAIT_S_MAX
from orchestrator.schemas import parse_checkout
from tests.unit.orchestrator.api import API, FILE, METHODS, operations, resolve, schema
from tests.unit.orchestrator.fakes import body
from utils.domain.money import SHIPPING_CENTS
from utils.domain.order import ITEMS_MAX, QUANTITY_MAX, TEXT_LENGTH_MAX, TITLE_LENGTH_MAX

CHECKOUT = API["components"]["schemas"]["CheckoutRequest"]


def test_the_application_has_the_described_operations_and_no_others() -> None:
    app = create_app(None, None, None, None, None, cors_origins=())  # type: ignore[arg-type]
    served = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", lambda name: f"{{{_camel(name[1])}}}", str(rule)))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method.lower() in METHODS
    }
    assert served == operations()


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    assert API["openapi"].startswith("3.1")
    for name in API["components"]["schemas"]:
        Draft202012Validator.check_schema(API["components"]["schemas"][name])
    references = re.findall(r"\$ref: \"(#/[^\"]+)\"", FILE.read_text())
    assert references
    assert all(resolve({"$ref": reference}) for reference in references)


def test_every_operation_says_how_its_errors_look() -> None:
    error = API["components"]["schemas"]["Error"]
    for method, path in operations():
        for status, answer in API["paths"][path][method]["responses"].items():
            described = resolve(answer)["content"]["application/json"]["schema"]
            if int(status) >= 400:
                parts = [resolve(part) for part in described.get("allOf", [described])]
                assert error in parts, f"{method} {path} {status}"


def test_limits_are_those_of_the_code() -> None:
    schemas = API["components"]["schemas"]
    items = CHECKOUT["properties"]["items"]
    assert items["maxItems"] == ITEMS_MAX
    assert items["items"]["properties"]["quantity"] == {"type": "integer", "minimum": 1, "maximum": QUANTITY_MAX}
    assert items["items"]["properties"]["name"]["maxLength"] == TITLE_LENGTH_MAX
    assert schemas["Line"]["maxLength"] == schemas["Text"]["maxLength"] == TEXT_LENGTH_MAX
    shipping = CHECKOUT["properties"]["shippingMethod"]
    assert shipping["enum"] == list(SHIPPING_CENTS)
    assert all(str(cents) in shipping["description"] for cents in SHIPPING_CENTS.values() if cents)
    assert f"{BODY_BYTES_MAX // 1024} KiB" in API["components"]["requestBodies"]["Checkout"]["description"]
    assert f"at most {WAIT_S_MAX}" in API["paths"]["/v2/orders/{orderId}"]["get"]["description"]


def test_the_limits_of_a_visitor_s_questions_are_those_of_the_code() -> None:
    def schemas(path: str) -> dict[str, Any]:
        return {parameter["name"]: parameter["schema"] for parameter in API["paths"][path]["get"]["parameters"]}

    search, recommendations = schemas("/books/search"), schemas("/books/recommendations")
    assert search["q"]["maxLength"] == discovery.QUERY_LENGTH_MAX
    assert (search["limit"]["maximum"], search["limit"]["default"]) == (discovery.FOUND_MAX, discovery.FOUND_DEFAULT)
    limit = recommendations["limit"]
    assert (limit["maximum"], limit["default"]) == (discovery.RECOMMENDED_MAX, discovery.RECOMMENDED_DEFAULT)
    assert recommendations["title"]["maxItems"] == ITEMS_MAX
    assert recommendations["title"]["items"]["maxLength"] == TITLE_LENGTH_MAX


def test_the_example_is_an_order() -> None:
    schema("/components/schemas/CheckoutRequest").validate(CHECKOUT["example"])
    assert parse_checkout(CHECKOUT["example"]).terms_accepted


@pytest.mark.parametrize("name", CHECKOUT["properties"])
def test_every_described_field_is_read_with_its_described_type(name: str) -> None:
    wrong: Any = [{}] if CHECKOUT["properties"][name].get("type") == "object" else {"a": 1}
    assert not schema(f"/components/schemas/CheckoutRequest/properties/{name}").is_valid(wrong)
    with pytest.raises(RequestInvalid) as refused:
        parse_checkout({name: wrong})
    assert refused.value.reasons[0].field.startswith(f"/{name}")


def test_the_page_s_order_is_as_described() -> None:
    schema("/components/schemas/CheckoutRequest").validate(body())


def test_a_problem_s_code_is_named_where_clients_read() -> None:
    told = FILE.read_text()
    for problem in Problem.__subclasses__():
        if problem.status >= 422 and problem.code != "internal":
            assert f"`{problem.code}`" in told, problem.code


def test_a_null_is_an_absent_field_as_the_description_says() -> None:
    assert "null is the same" in CHECKOUT["description"]
    assert decode_object(b'{"user": null}') == {}


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)
