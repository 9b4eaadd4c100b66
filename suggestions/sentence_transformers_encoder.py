"""all-MiniLM-L6-v2 as its authors run it, on torch: where the image has it."""

from collections.abc import Sequence
from importlib import import_module

from suggestions.encoder import EncoderError
from suggestions.minilm import check_weights, model_directory


class SentenceTransformersEncoder:
    """Importing and loading take 10 to 20 s cold."""

    def __init__(self) -> None:
        directory = model_directory()
        check_weights(directory / "model.safetensors")
        try:
            sentence_transformers = import_module("sentence_transformers")
        except ImportError as error:
            raise EncoderError(f"sentence-transformers cannot be imported: {error}") from error
        self._model = sentence_transformers.SentenceTransformer(str(directory), device="cpu")

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of length one for each text."""
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return [vector.tolist() for vector in vectors]
