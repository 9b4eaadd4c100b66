import time

import pytest

from orchestrator.json_body import DEPTH_MAX, decode_object
from orchestrator.problems import BodyInvalid

NOT_A_BODY = {
    "nothing": b"",
    "white space": b" \n\t ",
    "an array": b"[]",
    "a number": b"1",
    "text": b'"a"',
    "null": b"null",
    "not JSON": b"items=1",
    "two documents": b"{}{}",
    "a comment": b"{} // hello",
    "single quotes": b"{'a': 1}",
    "a trailing comma": b'{"a": 1,}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "a decimal that overflows": b'{"a": 1e400}',
    "an integer of 5,000 digits": b'{"a": ' + b"1" * 5_000 + b"}",
    "a leading zero": b'{"a": 01}',
    "a duplicate key": b'{"a": 1, "a": 1}',
    "a duplicate key deep inside": b'{"a": [{"b": 1, "b": 2}]}',
    "a duplicate key written with an escape": b'{"a": 1, "\\u0061": 2}',
    "100,000 arrays": b"[" * 100_000,
    "100,000 objects": b'{"a":' * 100_000,
    "nesting one too deep": b'{"a":' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}",
    "invalid UTF-8": b'{"a": "\xff"}',
    "an overlong encoding": b'{"a": "\xc0\xaf"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a lone high surrogate": b'{"a": "\\ud800"}',
    "a lone low surrogate in a key": b'{"\\udc00": 1}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "an escaped NUL": b'{"a": ["\\u0000"]}',
    "a raw NUL": b'{"a": "\x00"}',
    "a raw line feed in a string": b'{"a": "\n"}',
    "an unknown escape": b'{"a": "\\x41"}',
}


@pytest.mark.parametrize("body", NOT_A_BODY.values(), ids=NOT_A_BODY.keys())
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BodyInvalid) as refused:
        decode_object(body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b'"\\' * 131_072,
        b'{"a": "' + b"\\\\" * 131_000,
        b'{"a":"",' * 32_000,
        b'"' * 262_144,
        b"[]" * 131_072,
        b'{"a": [' + b"1," * 131_000,
    ],
    ids=["open strings", "an open string of backslashes", "keys", "quotes", "brackets", "an open array"],
)
def test_no_body_of_the_largest_size_takes_long(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(BodyInvalid):
        decode_object(body)
    assert time.process_time() - began < 0.5


def test_an_object_is_decoded_and_null_is_the_same_as_absent() -> None:
    text = '{"a": [1, -2.5, true, "é😀", "\\ud83d\\ude00"], "b": null, "c": {"d": null}, "\\u0065": "{[\\"]}"}'
    assert decode_object(text.encode()) == {"a": [1, -2.5, True, "é😀", "😀"], "c": {}, "e": '{["]}'}


def test_nesting_up_to_the_limit_is_decoded() -> None:
    depth = DEPTH_MAX - 1
    assert decode_object(b'{"a":' + b"[" * depth + b"]" * depth + b"}")


def test_brackets_in_text_are_no_nesting() -> None:
    assert decode_object(b'{"a": "' + b"[" * 1_000 + b'\\"' + b"{" * 1_000 + b'"}')


def test_an_error_quotes_nothing_of_the_body() -> None:
    with pytest.raises(BodyInvalid) as refused:
        decode_object(b'{"creditCard": {"number": "4111111111111111" "cvv": 1}}')
    assert "4111" not in refused.value.message
    assert refused.value.__cause__ is None
