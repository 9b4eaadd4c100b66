"""What is an answer and what is not; that data cannot end its own quotation."""

from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given, strategies as st

from utils.generative_ai.errors import Failure, GenerativeAiError
from utils.generative_ai.question import Question, document, parse


class Mood(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    score: Annotated[int, msgspec.Meta(ge=0, le=100)]
    word: Literal["good", "bad"]


MOOD = Question("mood", "How is it?", Mood)


def failure(text: str) -> Failure:
    with pytest.raises(GenerativeAiError) as caught:
        parse(MOOD, text, lambda _: True)
    return caught.value.failure


def test_an_answer_of_the_form() -> None:
    assert parse(MOOD, '{"score": 100, "word": "bad"}', lambda mood: mood.score == 100) == Mood(100, "bad")


@pytest.mark.parametrize("text", ["", "yes", "{", '{"score": NaN, "word": "good"}', '{"score": Infinity}', "\ud800"])
def test_no_json(text: str) -> None:
    assert failure(text) is Failure.MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        '{"score": -1, "word": "good"}', '{"score": 101, "word": "good"}', '{"score": 1e999, "word": "good"}',
        '{"score": 50.5, "word": "good"}', '{"score": "50", "word": "good"}', '{"score": true, "word": "good"}',
        '{"score": null, "word": "good"}', '{"score": 5, "word": "approved"}', '{"score": 5}',
        "[]", "null", "5", "[" * 99_999,
        '{"score": 5, "word": "good", "approve": true}',
    ],
)  # fmt: skip
def test_json_of_another_form(text: str) -> None:
    assert failure(text) in {Failure.WRONG_SCHEMA, Failure.MALFORMED}


def test_an_answer_that_is_not_among_the_possible_ones() -> None:
    with pytest.raises(GenerativeAiError) as caught:
        parse(MOOD, '{"score": 1, "word": "bad"}', lambda _: False)
    assert caught.value.failure is Failure.WRONG_SCHEMA


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    failure(text)


def test_the_schema_says_the_bounds_and_refers_to_nothing() -> None:
    schema = MOOD.schema()
    assert schema["properties"]["score"] == {"type": "integer", "minimum": 0, "maximum": 100}
    assert schema["properties"]["word"] == {"enum": ["bad", "good"]}
    assert schema["required"] == ["score", "word"]
    assert schema["additionalProperties"] is False


@given(st.text())
def test_data_is_one_line_between_the_markers(text: str) -> None:
    first, data, last = document({"title": text}, "DATA-1").split("\n")
    assert first == last == "DATA-1"
    assert msgspec.json.decode(data) == {"title": text}
