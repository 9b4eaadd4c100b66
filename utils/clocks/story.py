"""An order's story: what happened to it, each event with the vector clock of its moment.

Every machine keeps its own part, beside what it keeps of the order anyway: a cluster is one host, whose events happen
when its log is applied. An event ticks its host's entry; a message merges its sender's clock and ticks nothing. A part
is a tuple of packed events, in the order in which they happened: small on a disk, and nothing for the garbage
collector to look into.
"""

from typing import Final

import msgspec

from utils.clocks.vector_clock import VectorClock

ORCHESTRATOR: Final = "orchestrator"
ORDER_QUEUE: Final = "order_queue"
ORDER_EXECUTOR: Final = "order_executor"
DATABASE: Final = "database"
PAYMENT: Final = "payment"

# Packed as their numbers here, since a log holds many of them: only ever add at the end. Others are packed by name.
_NUMBERED: Final = (
    ORCHESTRATOR,
    "transaction_verification",
    "fraud_detection",
    "suggestions",
    ORDER_QUEUE,
    ORDER_EXECUTOR,
    DATABASE,
    PAYMENT,
)
_NUMBERS: Final = {host: number for number, host in enumerate(_NUMBERED)}

# An order that is tried for hours must not grow for hours: of one host, so many of the latest events are kept.
EVENTS_MAX: Final = 16


class Event(msgspec.Struct, frozen=True):
    """`epoch` and `number` name the attempt, for events of one; else they are 0."""

    host: str
    name: str
    clock: VectorClock
    epoch: int = 0
    number: int = 0


# Packed events; and a packed clock, of which b"" is the empty one.
Story = tuple[bytes, ...]
PackedClock = bytes


class _Packed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    host: int | str
    name: str
    clock: dict[int | str, int]
    epoch: int = 0
    number: int = 0


_encoder = msgspec.msgpack.Encoder()
_event_decoder = msgspec.msgpack.Decoder(_Packed)
_clock_decoder: msgspec.msgpack.Decoder[dict[int | str, int]] = msgspec.msgpack.Decoder(dict[int | str, int])


def pack(event: Event) -> bytes:
    host = _NUMBERS.get(event.host, event.host)
    return _encoder.encode(_Packed(host, event.name, _numbered(event.clock), event.epoch, event.number))


def unpack(data: bytes) -> Event:
    """Raises msgspec.DecodeError: what is stored was packed here, so this is a broken invariant."""
    packed = _event_decoder.decode(data)
    return Event(_name(packed.host), packed.name, _named(packed.clock), packed.epoch, packed.number)


def pack_clock(clock: VectorClock) -> PackedClock:
    return _encoder.encode(_numbered(clock)) if clock != VectorClock() else b""


def unpack_clock(data: PackedClock) -> VectorClock:
    """Raises msgspec.DecodeError, likewise."""
    return _named(_clock_decoder.decode(data)) if data else VectorClock()


def last_clock(story: Story) -> VectorClock:
    """What is known after the last event; of one host's story, after all of it."""
    return unpack(story[-1]).clock if story else VectorClock()


def tell(story: Story, host: str, name: str, heard: VectorClock, *, epoch: int = 0, number: int = 0) -> Story:
    """The story after one more event of `host`, which has heard of everything that `heard` counts."""
    clock = last_clock(story).merge(heard).tick(host)
    return (*story, pack(Event(host, name, clock, epoch, number)))


def _numbered(clock: VectorClock) -> dict[int | str, int]:
    return {_NUMBERS.get(host, host): count for host, count in clock.entries.items()}


def _named(entries: dict[int | str, int]) -> VectorClock:
    return VectorClock({_name(host): count for host, count in entries.items()})


def _name(host: int | str) -> str:
    return _NUMBERED[host] if isinstance(host, int) else host
