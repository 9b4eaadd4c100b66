"""What turns a text into a vector: two implementations of one model, which give the same vectors."""

from collections.abc import Sequence
from typing import Final, Protocol

# Part of every stored vector's key: vectors of different models cannot be compared.
MODEL: Final = "all-MiniLM-L6-v2"
DIMENSIONS: Final = 384


class EncoderError(Exception):
    """The model's files are not there or are not the pinned ones; the message says which."""


class Encoder(Protocol):
    """Blocks the calling thread: an event loop runs it in another one."""

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector of DIMENSIONS numbers and length one for each text, in order."""
        ...


def open_encoder(kind: str) -> Encoder:
    """Loads the model. Raises EncoderError."""
    # Imported only here: a process whose catalogue has its vectors already needs neither numpy nor torch.
    if kind == "sentence-transformers":
        from suggestions.sentence_transformers_encoder import SentenceTransformersEncoder  # noqa: PLC0415

        return SentenceTransformersEncoder()
    from suggestions.minilm import MiniLmEncoder  # noqa: PLC0415

    return MiniLmEncoder()
