"""What is kept carries the version of its format: one byte, then the content in msgpack.

Content from before that begins with a map or an array, 0x80 or higher, and counts as version 1. A program reads every
version up to its own and writes its own; of a later one it cannot know what it would miss, so it refuses it. The rules
for changing a format are in docs/formats.md.
"""

from typing import Any, Final, Generic, TypeVar

import msgspec

_WITHOUT_VERSION_MIN: Final = 0x80
VERSION_WITHOUT_BYTE: Final = 1

T = TypeVar("T")


class FormatTooNewError(Exception):
    """A later program wrote this, and an earlier one must not guess what it means. Nothing was changed."""

    def __init__(self, what: str, version: int, known: int, where: str = "") -> None:
        """`where`: the file or table, for whoever has to do something about it."""
        super().__init__(
            f"{where or what}: {what} of format {version} cannot be read; this program knows formats up to {known}. "
            "A later version of the program wrote it: start that one again (docs/formats.md)"
        )
        self.what = what
        self.version = version
        self.known = known

    def at(self, where: str) -> "FormatTooNewError":
        """The same, naming the file."""
        return FormatTooNewError(self.what, self.version, self.known, where)


class _Version(msgspec.Struct):
    version: int


def decode_header(payload: bytes, kind: type[T], *, what: str, known: int, path: str) -> T:
    """The header of a file, which says its `version` itself. Raises FormatTooNewError, msgspec.DecodeError."""
    version = msgspec.msgpack.decode(payload, type=_Version).version
    if version > known:
        raise FormatTooNewError(what, version, known, path)
    return msgspec.msgpack.decode(payload, type=kind)


class Format(Generic[T]):
    """How one kind of value is kept."""

    def __init__(self, what: str, kind: Any, *, version: int) -> None:
        """`what` it is called in errors; `kind`, the type of the values; `version`, the latest, which is written."""
        assert VERSION_WITHOUT_BYTE < version < _WITHOUT_VERSION_MIN
        self.what = what
        self.version = version
        self._prefix = bytes((version,))
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)

    def encode(self, value: T) -> bytes:
        """The value in the latest version; equal values give equal bytes."""
        return self._prefix + self._encoder.encode(value)

    def decode(self, data: bytes) -> T:
        """Raises FormatTooNewError; msgspec.DecodeError for what never was a value of this kind."""
        version = data[0] if data else VERSION_WITHOUT_BYTE
        if version >= _WITHOUT_VERSION_MIN:
            return self._decoder.decode(data)
        if version > self.version:
            raise FormatTooNewError(self.what, version, self.version)
        return self._decoder.decode(memoryview(data)[1:])
