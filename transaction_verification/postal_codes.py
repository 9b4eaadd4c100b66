"""Whether a postal code may belong to a country: lenient, and silent about countries that are not listed here."""

import re
from typing import Final

_FIVE_DIGITS = r"[0-9]{5}"
_FOUR_DIGITS = r"[0-9]{4}"

# ISO 3166 alpha-2 to the form of its postal codes, after capitals and without outer space.
_FORMS: Final = {
    country: re.compile(form)
    for country, form in {
        "AT": _FOUR_DIGITS,
        "AU": _FOUR_DIGITS,
        "BE": _FOUR_DIGITS,
        "CA": r"[A-Z][0-9][A-Z][ -]?[0-9][A-Z][0-9]",
        "CH": _FOUR_DIGITS,
        "CZ": r"[0-9]{3} ?[0-9]{2}",
        "DE": _FIVE_DIGITS,
        "DK": r"(DK-)?[0-9]{4}",
        "EE": r"(EE-)?[0-9]{5}",
        "ES": _FIVE_DIGITS,
        "FI": r"(FI-|AX-)?[0-9]{5}",
        "FR": r"[0-9]{2} ?[0-9]{3}",
        "GB": r"[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}",
        "IT": _FIVE_DIGITS,
        "LT": r"(LT-)?[0-9]{5}",
        "LV": r"(LV-)?[0-9]{4}",
        "NL": r"[0-9]{4} ?[A-Z]{2}",
        "NO": _FOUR_DIGITS,
        "PL": r"[0-9]{2}-?[0-9]{3}",
        "PT": r"[0-9]{4}(-?[0-9]{3})?",
        "SE": r"(SE-)?[0-9]{3} ?[0-9]{2}",
        "UA": _FIVE_DIGITS,
        "US": r"[0-9]{5}(-?[0-9]{4})?",
    }.items()
}

# How people write the countries above, besides the alpha-2 code.
_NAMES: Final = {
    "AUSTRIA": "AT", "AUSTRALIA": "AU", "BELGIUM": "BE", "CANADA": "CA", "SWITZERLAND": "CH", "CZECHIA": "CZ",
    "CZECH REPUBLIC": "CZ", "GERMANY": "DE", "DEUTSCHLAND": "DE", "DENMARK": "DK", "ESTONIA": "EE", "EESTI": "EE",
    "EST": "EE", "SPAIN": "ES", "FINLAND": "FI", "SUOMI": "FI", "FRANCE": "FR", "UK": "GB", "UNITED KINGDOM": "GB",
    "GREAT BRITAIN": "GB", "ENGLAND": "GB", "SCOTLAND": "GB", "WALES": "GB", "ITALY": "IT", "LITHUANIA": "LT",
    "LATVIA": "LV", "NETHERLANDS": "NL", "THE NETHERLANDS": "NL", "NORWAY": "NO", "POLAND": "PL", "PORTUGAL": "PT",
    "SWEDEN": "SE", "UKRAINE": "UA", "USA": "US", "U.S.A.": "US", "U.S.": "US", "UNITED STATES": "US",
    "UNITED STATES OF AMERICA": "US",
}  # fmt: skip

# Places without postal codes, or where hardly anybody uses one.
_WITHOUT: Final = frozenset({
    "AE", "UNITED ARAB EMIRATES", "HK", "HONG KONG", "IE", "IRELAND", "JM", "JAMAICA", "PA", "PANAMA", "QA", "QATAR",
})  # fmt: skip


def has_postal_codes(country: str) -> bool:
    """Whether an address in `country` needs a postal code."""
    return country.strip().upper() not in _WITHOUT


def fits_country(postal_code: str, country: str) -> bool:
    """Whether `postal_code` has the form of `country`; True for every country without a form here."""
    name = country.strip().upper()
    form = _FORMS.get(_NAMES.get(name, name))
    return form is None or form.fullmatch(postal_code.strip().upper()) is not None
