"""The search finds what was planted, in each form and at each place; and nothing where nothing is."""

import base64
import json
from urllib.parse import quote

import msgspec
import pytest

from tests.secrets.marks import Mark, ShortMark, card, search

NUMBER = "4539578763621486"
CARD = card("a card", NUMBER)
PASSWORD = Mark("a password", "s3cret/pass word+with=signs")
CVV = ShortMark("a security code", "0739")
EXPIRY = ShortMark("an expiry date", "11/39")


def forms_in(data: bytes, *marks: Mark | ShortMark) -> set[str]:
    return {found.form for found in search(data, marks, "here")}


PLANTED = {
    "plain": NUMBER.encode(),
    "in groups": b"4539 5787 6362 1486",
    "with dashes": b"4539-5787-6362-1486",
    "cut to what a receipt may not show": b"453957876362****",
    "in a URL": b"number=4539%205787%206362%201486",
    "no-break spaces": "4539\u00a05787\u00a06362\u00a01486".encode(),
    "reversed": NUMBER[:-4][::-1].encode(),
    "hex": b"\\x" + NUMBER.encode().hex().encode(),
    "upper hex": PASSWORD.value.encode().hex().upper().encode(),
    "percent": "".join(f"%{byte:02X}" for byte in NUMBER.encode()).encode(),
    "quoted": quote(PASSWORD.value, safe="").encode(),
    "JSON escapes": "".join(f"\\u{ord(digit):04X}" for digit in NUMBER).encode(),
    "JSON": json.dumps({"password": PASSWORD.value}).encode(),
    "JSON that escapes slashes": json.dumps({"password": PASSWORD.value}).replace("/", "\\/").encode(),
    "UTF-16": f"x{NUMBER}".encode("utf-16-le"),
    "big-endian": int(NUMBER[:-4]).to_bytes(8, "big"),
    "little-endian": int(NUMBER[:-4]).to_bytes(8, "little"),
    "msgpack": msgspec.msgpack.encode({"number": NUMBER}),
    "Python": repr({"number": NUMBER}).encode(),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("before", [b"", b"\xff\x00", b'{"a": 1}' * 1_000])
def test_a_mark_is_found_in_every_form(planted: bytes, before: bytes) -> None:
    assert forms_in(before + planted + b"\x00 and more", CARD, PASSWORD)


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes])
@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("mark", [CARD, PASSWORD], ids=["card", "password"])
def test_base64_is_found_at_every_alignment(encode: object, before: int, after: int, mark: Mark) -> None:
    assert callable(encode)
    assert forms_in(encode(b"\xfb" * before + mark.value.encode() + b"\xff" * after), mark)


@pytest.mark.parametrize(
    "planted",
    [
        b'{"cvv": "0739"}',
        b"cvv=0739&x",
        b"the code 0739 is wrong",
        msgspec.msgpack.encode({"cvv": "0739"}),
        b"\x1a\x040739",
        base64.b64encode(b'{"cvv":"0739"}'),
        base64.b64encode(b' {"cvv":"0739"}'),
        base64.b64encode(b'  {"cvv":"0739"}'),
    ],
)
def test_a_security_code_is_found_where_it_stands_alone(planted: bytes) -> None:
    assert forms_in(b"\x00" + planted, CVV)


def test_a_security_code_is_not_seen_in_other_numbers() -> None:
    assert not forms_in(b'port 10739, 07392, 12.0739, a0739f "07391"', CVV)


@pytest.mark.parametrize(
    "planted", [b'"11/39"', rb'"11\/39"', b"date=11/39", msgspec.msgpack.encode(["11/39"]), b"\x12\x0511/39"]
)
def test_an_expiry_date_is_found(planted: bytes) -> None:
    assert forms_in(planted, EXPIRY)


def test_what_may_be_kept_is_not_found() -> None:
    kept = b'{"brand": "visa", "last_four": "1486", "amount": 4539, "password": "***"}'
    assert not forms_in(kept, CARD, PASSWORD, CVV, EXPIRY)
