"""Names, addresses, mailboxes and cards of people who do not exist, for benchmarks/fraud_behaviours.

Nothing here knows a rule of fraud detection.
"""

import random
import string
import unicodedata
from dataclasses import dataclass
from typing import Final

from utils.domain.order import Address, Customer

FIRST_NAMES: Final = (
    "Mari", "Jaan", "Liis", "Kaarel", "Anna", "Peter", "Maria", "Thomas", "Laura", "Juhan", "Katrin", "Olga", "Sergei",
    "Ivan", "Emma", "Noah", "Sofia", "Lukas", "Marta", "Piotr", "Zofia", "Krzysztof", "Ngozi", "Chidi", "Wei", "Li Na",
    "Hiroshi", "Yuki", "Fatima", "Omar", "José", "Lucía", "François", "Chloé", "Søren", "Åsa", "Björn", "Siobhán", "Ng",
    "Rhys", "Bartłomiej", "Ülle", "Õnne", "Kristjan", "Aleksandr", "Tuuli", "Mihkel", "Eva", "David", "Sarah",
)  # fmt: skip
LAST_NAMES: Final = (
    "Maasikas", "Tamm", "Saar", "Sepp", "Kask", "Mägi", "Kukk", "Rebane", "Smith", "Jones", "Müller", "Schmidt",
    "Schwarz", "Lindström", "Virtanen", "Korhonen", "Nowak", "Wiśniewski", "Szczepański", "Ivanov", "Petrova", "Okafor",
    "Wang", "Nguyen", "Tanaka", "Haddad", "García", "Fernández", "Dubois", "Lefèvre", "Rossi", "Jensen", "O'Brien",
    "Llewellyn", "van Dijk", "Kowalczyk", "Schwartz", "Kuznetsova", "Berg", "Hirsch",
)  # fmt: skip
NICKNAMES: Final = (
    "bookworm", "nightowl", "kassike", "sunshine", "readalot", "papercut", "inkblot", "teadrinker", "wanderer",
    "karuott", "moonchild", "bibliofiil", "lumepall", "greycat", "oldoak", "sk8er", "gr8reader", "2cool4school",
    "b00kfan",
)  # fmt: skip
STREETS: Final = (
    "Narva mnt", "Riia", "Lai", "Pikk", "Kalevi", "Tähe", "Main Street", "High Street", "Hauptstrasse",
    "Mannerheimintie", "Storgatan", "Rue de la Paix", "Via Roma", "Calle Mayor", "Marszałkowska", "Station Road",
)  # fmt: skip
# Country, a language of it, and how its postal codes look.
COUNTRIES: Final = (
    ("EE", "et-EE", "#####"), ("EE", "et-EE", "#####"), ("EE", "ru-EE", "#####"), ("FI", "fi-FI", "#####"),
    ("DE", "de-DE", "#####"), ("SE", "sv-SE", "#####"), ("LV", "lv-LV", "####"), ("FR", "fr-FR", "#####"),
    ("PL", "pl-PL", "##-###"), ("ES", "es-ES", "#####"), ("US", "en-US", "#####"), ("NL", "nl-NL", "#### AB"),
)  # fmt: skip
FREE_MAIL: Final = (
    "gmail.com",
    "gmail.com",
    "gmail.com",
    "outlook.com",
    "hotmail.com",
    "yahoo.com",
    "mail.ru",
    "zoho.eu",
)
LOCAL_MAIL: Final = ("mail.ee", "hot.ee", "gmx.de", "elisa.fi", "wp.pl", "orange.fr", "telia.se")
# Of the throw-away mailboxes that a search for one shows first; the last two are new, and on few lists.
THROW_AWAY_MAIL: Final = (
    "mailinator.com", "yopmail.com", "guerrillamail.com", "temp-mail.org", "10minutemail.com", "sharklasers.com",
    "trashmail.com", "getnada.com", "tempmail.com", "maildrop.cc", "throwawaymail.com", "dispostable.com",
    "gone-tomorrow.net", "nosuchmail.cc",
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """Somebody with a home, a mailbox, a browser and a card."""

    customer: Customer
    home: Address
    language: str
    card: str


def plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.lower().replace("ł", "l").replace("ø", "o"))
    return "".join(character for character in decomposed if character in string.ascii_lowercase)


class People:
    """Invents them, by one source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def name(self) -> str:
        return f"{self._chance.choice(FIRST_NAMES)} {self._chance.choice(LAST_NAMES)}"

    def digits(self, count: int) -> str:
        return "".join(self._chance.choices(string.digits, k=count))

    def address(self, country: str, form: str) -> Address:
        code = "".join(self._chance.choice("123456789") if character == "#" else character for character in form)
        street = f"{self._chance.choice(STREETS)} {self._chance.randint(1, 180)}"
        if self._chance.random() < 0.5:
            street += f"-{self._chance.randint(1, 90)}"
        return Address(street, self._chance.choice(("Tartu", "Tallinn", "Springfield", "Neustadt")), "", code, country)

    def own_mail(self, name: str) -> str:
        """As people choose them: mostly from their name, some not, some made up by a relay."""
        chance = self._chance
        words = [plain(word) for word in name.split()]
        first, last = words[0] or "x", words[-1] or "y"
        number = chance.choice(("", "", "", self.digits(1), self.digits(2), str(chance.randint(1950, 2010))))
        how = chance.random()
        if how < 0.78:
            forms = (
                f"{first}.{last}",
                f"{first}{last}",
                f"{first[0]}{last}",
                f"{last}.{first}",
                f"{first}_{last[0]}",
                first,
            )
            local = chance.choice(forms) + number
        elif how < 0.90:
            local = chance.choice(NICKNAMES) + number
        elif how < 0.94:
            local = first[0] + last[0] + number
        elif how < 0.97:
            # Somebody who likes passwords for addresses.
            return f"{self.random_word(chance.randint(7, 11))}@{chance.choice(FREE_MAIL)}"
        else:
            return f"{self.random_word(10)}@privaterelay.appleid.com"
        return f"{local}@{chance.choice(FREE_MAIL + LOCAL_MAIL)}"

    def random_word(self, length: int) -> str:
        return "".join(self._chance.choices(string.ascii_lowercase + string.digits, k=length))

    def card(self) -> str:
        return self._chance.choice("45") + self.digits(15)

    def account(self, country: str) -> str:
        return country + self.digits(18)

    def person(self) -> Person:
        chance = self._chance
        country, language, form = chance.choice(COUNTRIES)
        # Many browsers speak American English wherever they are; and some people live abroad.
        how = chance.random()
        if how < 0.15:
            language = "en-US"
        elif how < 0.20:
            language = chance.choice(COUNTRIES)[1]
        elif how < 0.30:
            language = language.partition("-")[0]
        name = self.name()
        if chance.random() < 0.01:
            name = chance.choice(("X Æ A-12", "Studio 54", "John Smith 3rd", "Raamatupood 24/7", "N. N."))
        contact = f"+372 5{self.digits(7)}" if chance.random() < 0.06 else self.own_mail(name)
        return Person(Customer(name, contact), self.address(country, form), language, self.card())
