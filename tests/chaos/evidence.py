"""What the system holds after a run, in each place that holds something."""

import msgspec


class Shelved(msgspec.Struct, frozen=True):
    copies: int
    reserved: int


class Capture(msgspec.Struct, frozen=True):
    order_id: str
    amount_cents: int
    confirmation_code: str
    # Empty for what was not refunded; likewise of a record.
    refund_code: str = ""


class Record(msgspec.Struct, frozen=True):
    """A row of order_records. `items`: None for an order that verification rejected."""

    order_id: str
    state: str
    amount_cents: int | None
    confirmation_code: str
    items: dict[str, int] | None
    refund_code: str = ""


class Evidence(msgspec.Struct):
    """`shelf` by title; `reservations` and `holds` are the ids of orders that are not decided somewhere."""

    shelf: dict[str, Shelved]
    reservations: list[str]
    captures: list[Capture]
    holds: list[str]
    records: list[Record]

    def since(self, before: "Evidence") -> "Evidence":
        """Without the captures and records that were there before."""
        captured = {capture.order_id for capture in before.captures}
        recorded = {record.order_id for record in before.records}
        return Evidence(
            self.shelf,
            self.reservations,
            [capture for capture in self.captures if capture.order_id not in captured],
            self.holds,
            [record for record in self.records if record.order_id not in recorded],
        )
