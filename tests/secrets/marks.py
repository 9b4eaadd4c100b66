"""Values that must not be found, and every form in which they might be."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

# What people and programs write between the digits of a number.
_SEPARATOR = rb"(?:[ .,_+-]|%20|\xc2\xa0|\\u00a0)?"
# Shorter ones occur by chance among so many bytes.
_LENGTH_MIN = 8
# Numbers of so many digits are looked for as integers, too.
_INTEGER_DIGITS_MIN, _INTEGER_MAX = 12, 2**64


@dataclass(frozen=True)
class Found:
    """Where a mark was, and in which form."""

    mark: str
    form: str
    where: str
    around: bytes


@dataclass(frozen=True)
class Mark:
    """A secret that a test has sent: a number of at least eight characters, or a text."""

    name: str
    value: str

    def __post_init__(self) -> None:
        assert len(self.value) >= _LENGTH_MIN, self.name

    @cached_property
    def forms(self) -> dict[str, re.Pattern[bytes]]:
        """By name. Each finds the whole value in one form, wherever it lies."""
        plain = self.value.encode()
        forms = {
            "plain": _spaced(self.value) if self.value.isalnum() else re.escape(plain),
            "reversed": _spaced(self.value[::-1]) if self.value.isalnum() else re.escape(plain[::-1]),
            "hex": b"(?i:" + plain.hex().encode() + b")",
            "URL": b"(?i:" + "".join(f"%{byte:02x}" for byte in plain).encode() + b")",
            "quoted": re.escape(quote(self.value, safe="").encode()),
            "JSON": b"(?i:" + re.escape("".join(f"\\u{ord(letter):04x}" for letter in self.value).encode()) + b")",
            "JSON text": re.escape(json.dumps(self.value)[1:-1].replace("/", "\\/").encode()),
            "UTF-16": re.escape(self.value.encode("utf-16-le")),
        }
        for offset in range(3):
            encoded = _base64_within(plain, offset)
            forms[f"base64 at {offset}"] = re.escape(encoded)
            forms[f"base64url at {offset}"] = re.escape(encoded.translate(bytes.maketrans(b"+/", b"-_")))
        if self.value.isdigit() and len(self.value) >= _INTEGER_DIGITS_MIN and int(self.value) < _INTEGER_MAX:
            forms["big-endian"] = re.escape(int(self.value).to_bytes(8, "big"))
            forms["little-endian"] = re.escape(int(self.value).to_bytes(8, "little"))
        return {name: re.compile(form) for name, form in forms.items()}


@dataclass(frozen=True)
class ShortMark:
    """One of few characters, as a security code: found where it stands as a word or a field of its own.

    Nobody counts to a number that begins with 0: chance finds only what has another digit there.
    """

    name: str
    value: str

    @cached_property
    def forms(self) -> dict[str, re.Pattern[bytes]]:
        value = re.escape(self.value.encode()).replace(rb"/", rb"\\?/")
        # As text, and as msgpack and protobuf keep it: behind its length.
        framed = rb"[\x%02x\x%02x" % (len(self.value), 0xA0 + len(self.value)) + rb"\"'=: ]"
        spelled = json.dumps(self.value).encode()
        return {
            "plain": re.compile(framed + value + rb"(?![0-9A-Za-z.:%/-])"),
            **{f"base64 at {offset}": re.compile(re.escape(_base64_within(spelled, offset))) for offset in range(3)},
        }


def card(name: str, number: str) -> Mark:
    """Of a card only the last four digits may be kept: the rest of it is the mark."""
    return Mark(name, number[:-4])


def search(data: bytes, marks: Iterable[Mark | ShortMark], where: str) -> Iterator[Found]:
    """Every mark and form that occurs in `data`, once each."""
    for mark in marks:
        for name, form in mark.forms.items():
            if match := form.search(data):
                around = data[max(0, match.start() - 60) : match.end() + 60]
                yield Found(mark.name, name, where, around)


def _spaced(value: str) -> bytes:
    return _SEPARATOR.join(re.escape(letter.encode()) for letter in value)


def _base64_within(plain: bytes, offset: int) -> bytes:
    """What is the same in the base64 of every text that holds `plain` at a position of this remainder by three."""
    encoded = base64.b64encode(bytes(offset) + plain).rstrip(b"=")
    start = (0, 2, 3)[offset]
    # The last character also holds bits of what follows, unless the bytes end with it.
    end = len(encoded) - ((offset + len(plain)) % 3 != 0)
    return encoded[start:end]
