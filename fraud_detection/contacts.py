"""What a name and an address tell of whoever typed them: a person, or a program that needed something. Pure."""

import re
import unicodedata
from typing import Final

from fraud_detection.domains import domain_of

# Their users never see the address that the service makes up for them.
_RELAYS: Final = frozenset({
    "duck.com", "icloud.com", "mozmail.com", "passmail.net", "privaterelay.appleid.com", "simplelogin.com",
})  # fmt: skip

# Letters that no decomposition takes apart, as their owners spell them in an address.
_SPELT: Final = str.maketrans({"ø": "o", "ł": "l", "ß": "ss", "æ": "ae", "œ": "oe", "đ": "d", "ð": "d", "þ": "th"})
_LETTERS: Final = re.compile(r"[a-z]+")
_VOWELLESS: Final = re.compile(r"[b-df-hj-np-tv-xz]+")
# A year of birth or a lucky number at the end is what people do; a digit before a letter is not.
_DIGIT_INSIDE: Final = re.compile(r"[0-9][a-z]")


def local_part(contact: str) -> str:
    """What stands before the @ of an email address, without a +tag, in small letters; empty for anything else."""
    local, at, _ = contact.strip().lower().rpartition("@")
    return local.partition("+")[0] if at else ""


def looks_random(contact: str, name: str) -> bool:
    """An email address that nobody would remember: "x7k2qp9d", "qwrtzplk". Names, initials and relays are spared."""
    text = local_part(contact)
    if not unlike_name(contact, name) or domain_of(contact) in _RELAYS:
        return False
    return bool(_DIGIT_INSIDE.search(text)) or _longest_vowelless(text) >= 4


def unlike_name(contact: str, name: str) -> bool:
    """An email address with neither the beginning of a word of the name nor its initials. Only Latin names tell."""
    local = "".join(_LETTERS.findall(_plain(local_part(contact))))
    words = _LETTERS.findall(_plain(name))
    if not local_part(contact) or not words:
        return False
    initials = "".join(word[0] for word in words)
    if local in {initials, initials[::-1], initials[0] + initials[-1]}:
        return False
    # Short names only where a word of the address could begin or end.
    return not any(
        word[:4] in local if len(word) >= 4 else local.startswith(word) or local.endswith(word)
        for word in words
        if len(word) >= 2
    )


def odd_name(name: str) -> bool:
    """Digits in it, or Latin letters that nobody can say: more consonants in a row than any language has."""
    return any(character.isdigit() for character in name) or _longest_vowelless(_plain(name)) >= 6


def _longest_vowelless(text: str) -> int:
    return max(map(len, _VOWELLESS.findall(text)), default=0)


def _plain(text: str) -> str:
    """In small letters, without accents."""
    decomposed = unicodedata.normalize("NFKD", text.lower().translate(_SPELT))
    return "".join(character for character in decomposed if not unicodedata.combining(character))
