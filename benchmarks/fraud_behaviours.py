"""What honest customers and fraudsters do, told as behaviours in time. It knows nothing of the rules that judge them.

Honest: readers, givers of presents, expats who pay from home, libraries and schools that order classes of books,
families with one card, a dormitory in the first week of term, people who press the button twice, people whose bank
declines, and a load client that repeats the same few customers and test cards hundreds of times a minute.

Fraudulent: throw-away mailboxes, hoarders of whole printings, testers of stolen cards, rings that have stolen cards
send books to one empty flat, single big orders with a stolen card, and imitators, who do all they can to look honest.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.fraud_people import COUNTRIES, FREE_MAIL, THROW_AWAY_MAIL, People, Person
from fraud_detection.detector import Instrument, OrderFacts
from utils.catalogue import CatalogueBook
from utils.domain.order import Customer, OrderItem

DAY_S: Final = 86_400.0
DAYS: Final = 14
READERS: Final = 2_400
# A load client's minute would drown everybody else in the count of honest orders; precision does not see it.
LOAD_ORDERS: Final = 400
TEST_CARDS: Final = ("4111111111111111", "5555555555554444", "378282246310005", "4242424242424242")


@dataclass(frozen=True)
class Labelled:
    """One order as it arrives, and the truth about it."""

    at_s: float
    behaviour: str
    fraudulent: bool
    facts: OrderFacts


class Behaviours:
    """Two weeks of a shop, by one seed."""

    def __init__(self, seed: int, catalogue: Sequence[CatalogueBook]) -> None:
        self._chance = random.Random(seed)
        self._people = People(self._chance)
        self._catalogue = catalogue
        self._dear = sorted(catalogue, key=lambda book: -book.price_cents)[: len(catalogue) // 5]

    def orders(self) -> list[Labelled]:
        """In the order in which they arrive."""
        honest = (
            self._readers, self._libraries, self._families, self._dormitories, self._impatient, self._declined,
            self._load_client,
        )  # fmt: skip
        fraud = (
            self._throw_away, self._hoarders, self._card_testers, self._rings, self._single_hits, self._imitators
        )  # fmt: skip
        labelled = [
            Labelled(at_s, behaviour.__name__.removeprefix("_"), behaviour in fraud, facts)
            for behaviour in (*honest, *fraud)
            for at_s, facts in behaviour()
        ]
        return sorted(labelled, key=lambda order: order.at_s)

    def _moment(self) -> float:
        return self._chance.uniform(0, DAYS * DAY_S)

    def _order(
        self, person: Person, basket: Sequence[tuple[CatalogueBook, int]], instrument: Instrument | None = None
    ) -> OrderFacts:
        return OrderFacts(
            customer=person.customer,
            billing_address=person.home,
            items=[OrderItem(book.title, quantity) for book, quantity in basket],
            amount_cents=sum(book.price_cents * quantity for book, quantity in basket)
            + self._chance.choice((0, 0, 499, 999)),
            instrument=instrument or Instrument("card", person.card),
            device_language=person.language,
        )

    def _few_books(self, most: int = 5) -> list[tuple[CatalogueBook, int]]:
        books = self._chance.sample(self._catalogue, self._chance.randint(1, most))
        return [(book, 1 if self._chance.random() < 0.9 else self._chance.randint(2, 4)) for book in books]

    # --- honest

    def _readers(self) -> Iterator[tuple[float, OrderFacts]]:
        for _ in range(READERS):
            person = self._people.person()
            instrument = None
            if self._chance.random() < 0.15:
                # By bank transfer; one in twelve of them from a country where they used to live.
                abroad = self._chance.random() < 0.08
                country = self._chance.choice(COUNTRIES)[0] if abroad else person.home.country
                instrument = Instrument("iban", self._people.account(country))
            # Before holidays a reader is a giver of presents.
            most = 14 if self._chance.random() < 0.08 else 5
            at_s = self._moment()
            for _ in range(self._chance.choice((1, 1, 1, 2, 3))):
                yield at_s, self._order(person, self._few_books(most), instrument)
                at_s += self._chance.expovariate(1 / (2 * DAY_S))

    def _libraries(self) -> Iterator[tuple[float, OrderFacts]]:
        for _ in range(60):
            reader = self._people.person()
            domain = self._chance.choice(("tartu-library.ee", "school42.ee", "buch-stadt.de", "readingclub.org"))
            office = self._chance.choice(("orders", "purchasing", "info", "raamatukogu", "library"))
            school = self._chance.choice(("City Library", "Gymnasium No 2", "Reading Club", "Tartu 7. kool"))
            person = replace(reader, customer=Customer(school, f"{office}@{domain}"))
            at_s = self._moment()
            for _ in range(self._chance.randint(1, 4)):
                if self._chance.random() < 0.5:
                    basket = [(self._chance.choice(self._catalogue), self._chance.randint(15, 60))]
                else:
                    basket = [(book, self._chance.randint(1, 6)) for book in self._chance.sample(self._catalogue, 15)]
                yield at_s, self._order(person, basket)
                at_s += self._chance.uniform(60, 1_200)

    def _families(self) -> Iterator[tuple[float, OrderFacts]]:
        for _ in range(40):
            head = self._people.person()
            second = self._people.card()
            at_s = self._moment()
            for _ in range(self._chance.randint(2, 5)):
                name = f"{self._people.name().split()[0]} {head.customer.name.split()[-1]}"
                member = replace(head, customer=Customer(name, self._people.own_mail(name)))
                yield (
                    at_s,
                    self._order(replace(member, card=self._chance.choice((head.card, second))), self._few_books()),
                )
                at_s += self._chance.expovariate(1 / DAY_S)

    def _dormitories(self) -> Iterator[tuple[float, OrderFacts]]:
        for _ in range(2):
            house = self._people.address("EE", "#####")
            at_s = self._moment()
            textbook = self._chance.choice(self._dear)
            for _ in range(self._chance.randint(12, 30)):
                student = replace(self._people.person(), home=house)
                yield at_s, self._order(student, [(textbook, 1), *self._few_books(2)])
                at_s += self._chance.expovariate(1 / 1_800)

    def _impatient(self) -> Iterator[tuple[float, OrderFacts]]:
        for _ in range(40):
            person = self._people.person()
            basket = self._few_books()
            at_s = self._moment()
            for _ in range(self._chance.randint(2, 6)):
                yield at_s, self._order(person, basket)
                at_s += self._chance.uniform(0.3, 20)

    def _declined(self) -> Iterator[tuple[float, OrderFacts]]:
        """Their bank says no, so they try another card, and sometimes a third."""
        for _ in range(60):
            person = self._people.person()
            basket = self._few_books()
            at_s = self._moment()
            for _ in range(self._chance.choice((2, 2, 3))):
                yield at_s, self._order(replace(person, card=self._people.card()), basket)
                at_s += self._chance.uniform(20, 240)

    def _load_client(self) -> Iterator[tuple[float, OrderFacts]]:
        customers = [
            replace(self._people.person(), customer=Customer(name, contact), language="en-US")
            for name, contact in (
                ("John Doe", "john@example.com"),
                ("User 1", "user1@example.com"),
                ("Test", "t@x.org"),
            )
        ]
        at_s = self._moment()
        for _ in range(LOAD_ORDERS):
            person = replace(self._chance.choice(customers), card=self._chance.choice(TEST_CARDS))
            yield at_s, self._order(person, [(self._chance.choice(self._catalogue), self._chance.randint(1, 20))])
            at_s += self._chance.expovariate(6)

    # --- fraudulent

    def _throw_away(self) -> Iterator[tuple[float, OrderFacts]]:
        for _ in range(90):
            person = self._people.person()
            mail = f"{self._people.random_word(8)}@{self._chance.choice(THROW_AWAY_MAIL)}"
            person = replace(person, customer=Customer(person.customer.name, mail))
            yield self._moment(), self._order(person, self._few_books(10))

    def _hoarders(self) -> Iterator[tuple[float, OrderFacts]]:
        for _ in range(25):
            copies = self._chance.choice((100, 120, 150, 200, 250, 500, 1_000))
            yield self._moment(), self._order(self._people.person(), [(self._chance.choice(self._catalogue), copies)])

    def _card_testers(self) -> Iterator[tuple[float, OrderFacts]]:
        """Bots that find out which stolen cards still work, with the cheapest books."""
        cheap = sorted(self._catalogue, key=lambda book: book.price_cents)[:20]
        for _ in range(7):
            person = self._bot()
            at_s = self._moment()
            for _ in range(self._chance.randint(25, 60)):
                if self._chance.random() < 0.05:
                    # A new mailbox now and then.
                    person = replace(person, customer=self._bot().customer)
                yield at_s, self._order(replace(person, card=self._people.card()), [(self._chance.choice(cheap), 1)])
                at_s += self._chance.uniform(1, 40)

    def _rings(self) -> Iterator[tuple[float, OrderFacts]]:
        """Stolen cards and accounts buy what sells again, for one empty flat, in many names, within a day or two."""
        for _ in range(8):
            country, _, form = self._chance.choice(COUNTRIES)
            flat = self._people.address(country, form)
            language = self._abroad(country)
            at_s = self._moment()
            for _ in range(self._chance.randint(8, 20)):
                person = replace(self._bot(), home=flat, language=language)
                yield at_s, self._order(person, self._resold(), self._stolen(country))
                at_s += self._chance.expovariate(1 / 5_400)

    def _single_hits(self) -> Iterator[tuple[float, OrderFacts]]:
        """One stolen card or account, one big order, and gone."""
        for _ in range(70):
            country, _, form = self._chance.choice(COUNTRIES)
            person = replace(
                self._bot(), home=self._people.address(country, form), language=self._abroad(country)
            )  # fmt: skip
            yield self._moment(), self._order(person, self._resold(), self._stolen(country))

    def _imitators(self) -> Iterator[tuple[float, OrderFacts]]:
        """A stolen card, and otherwise a reader like any other. Nothing in an order can tell."""
        for _ in range(15):
            yield self._moment(), self._order(self._people.person(), self._few_books(8))

    def _bot(self) -> Person:
        """A victim's or an invented name, and a mailbox that a program opened for it."""
        person = self._people.person()
        name = self._people.name()
        if self._chance.random() < 0.2:
            name = f"{self._people.random_word(6)} {self._people.random_word(7)}"
        local = self._people.random_word(self._chance.randint(8, 13))
        if self._chance.random() < 0.12:
            # Or one that looks like a name, though of somebody else.
            local = self._people.own_mail(self._people.name()).partition("@")[0]
        return replace(person, customer=Customer(name, f"{local}@{self._chance.choice(FREE_MAIL)}"))

    def _resold(self) -> list[tuple[CatalogueBook, int]]:
        """Dear books, many of each."""
        books = self._chance.sample(self._dear, self._chance.randint(1, 4))
        return [(book, self._chance.randint(8, 60) // len(books) + 1) for book in books]

    def _stolen(self, country: str) -> Instrument:
        if self._chance.random() < 0.3:
            others = [other for other, _, _ in COUNTRIES if other != country]
            return Instrument("iban", self._people.account(self._chance.choice(others)))
        return Instrument("card", self._people.card())

    def _abroad(self, country: str) -> str:
        """The language of whoever sits at the keyboard, who is mostly elsewhere."""
        if self._chance.random() < 0.25:
            return next(language for code, language, _ in COUNTRIES if code == country)
        return self._chance.choice(("en-US", "en-US", "pt-BR", "vi-VN", "ru-RU", "en-NG", "en"))
