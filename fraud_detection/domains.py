"""Mail domains from which no honest order comes: throw-away mailboxes, and names that no mail can reach. Pure."""

from typing import Final

# Reserved for tests (RFC 2606): nobody receives mail there.
_RESERVED: Final = ("test", "invalid", "localhost")

_SUSPICIOUS: Final = frozenset({"suspicious.ru"})

_DISPOSABLE: Final = frozenset({
    "10minutemail.com", "10minutemail.net", "discard.email", "discardmail.com", "dispostable.com", "fakeinbox.com",
    "getairmail.com", "getnada.com", "guerrillamail.biz", "guerrillamail.com", "guerrillamail.de", "guerrillamail.net",
    "guerrillamail.org", "guerrillamailblock.com", "inboxkitten.com", "mail-temp.com", "mailcatch.com",
    "maildrop.cc", "mailinator.com", "mailinator.net", "mailnesia.com", "mailnull.com", "mailsac.com", "mintemail.com",
    "mohmal.com", "moakt.com", "mytemp.email", "nada.email", "sharklasers.com", "spam4.me", "spamgourmet.com",
    "temp-mail.io", "temp-mail.org", "tempail.com", "tempmail.com", "tempmail.net", "tempmailo.com", "tempr.email",
    "throwawaymail.com", "trashmail.com", "trashmail.de", "trashmail.net", "yopmail.com", "yopmail.fr", "yopmail.net",
})  # fmt: skip


def domain_of(contact: str) -> str:
    """The domain of an email address, in small letters; empty for anything else."""
    _, at, domain = contact.strip().rpartition("@")
    return domain.lower().rstrip(".") if at else ""


def is_disposable(domain: str) -> bool:
    """Also for hosts below a listed domain."""
    return _listed(domain, _DISPOSABLE)


def is_suspicious(domain: str) -> bool:
    """Also for hosts below a listed domain. A country alone, such as .ru, is nothing to suspect."""
    return domain.rpartition(".")[2] in _RESERVED or _listed(domain, _SUSPICIOUS)


def _listed(domain: str, listed: frozenset[str]) -> bool:
    labels = domain.split(".")
    return any(".".join(labels[start:]) in listed for start in range(len(labels)))
