"""Decodes a request's body: JSON as RFC 8259 and I-JSON (RFC 7493) have it, and nothing that only some parsers accept.

The standard library's decoder takes NaN, duplicate keys, numbers of any length and lone surrogates; its C scanner also
recurses as deep as the body asks. Each of those is refused here.
"""

import json
import math
import re
from typing import Any, Final

from orchestrator.problems import BodyInvalid

DEPTH_MAX: Final = 16
# Digits of the largest integer that a signed 64-bit integer holds.
_INTEGER_LENGTH_MAX: Final = 20
# The closing quote is optional, so that every quote opens a match: no body makes this search twice in one place.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; members that are null are left out. Raises BodyInvalid, which quotes no value."""
    if not body.strip():
        raise BodyInvalid("the body is empty; it should be a JSON object")
    _check_depth(body)
    try:
        decoded = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise BodyInvalid("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        # Its own message quotes nothing of the body; `doc` does, so the error is not chained.
        raise BodyInvalid(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(decoded, dict):
        raise BodyInvalid("the body should be a JSON object")
    if b"\\u" in body:
        _check_text(decoded)
    return decoded


def _check_depth(body: bytes) -> None:
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", body)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > DEPTH_MAX:
            raise BodyInvalid(f"the body is nested more than {DEPTH_MAX} deep")


def _check_text(value: Any) -> None:
    """Escapes can write what UTF-8 cannot: half of a surrogate pair; and NUL, which nobody means."""
    if isinstance(value, str):
        if "\0" in value:
            raise BodyInvalid("the body holds a NUL character")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise BodyInvalid("the body holds a lone surrogate")
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_text(name)
            _check_text(member)
    elif isinstance(value, list):
        for element in value:
            _check_text(element)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise BodyInvalid("the body names a member of an object twice")
    return {name: value for name, value in pairs if value is not None}


def _integer(text: str) -> int:
    if len(text) > _INTEGER_LENGTH_MAX:
        raise BodyInvalid("the body holds a number that is too long")
    return int(text)


def _decimal(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BodyInvalid("the body holds a number that is too large")
    return number


def _constant(_name: str) -> None:
    raise BodyInvalid("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_decimal, parse_constant=_constant
)
