"""The numpy forward pass is the published model: the reference values are its authors' own."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from suggestions.encoder import DIMENSIONS, EncoderError, open_encoder
from suggestions.minilm import MiniLmEncoder, erf, model_directory


@pytest.fixture(scope="module")
def encoder() -> MiniLmEncoder:
    return MiniLmEncoder()


def similarities(encoder: MiniLmEncoder, texts: list[str]) -> list[list[float]]:
    vectors = np.array(encoder.encode(texts))
    return [[float(value) for value in row] for row in vectors @ vectors.T]


def test_similarities_are_those_of_the_authors_quick_start(encoder: MiniLmEncoder) -> None:
    # https://sbert.net/docs/quickstart.html
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    expected = [[1.0000, 0.6660, 0.1046], [0.6660, 1.0000, 0.1411], [0.1046, 0.1411, 1.0000]]
    assert similarities(encoder, texts) == [pytest.approx(row, abs=6e-5) for row in expected]


def test_similarities_are_those_of_the_model_hub(encoder: MiniLmEncoder) -> None:
    # https://huggingface.co/docs/inference-providers/detailed_options: the answer of its sentence-similarity example
    source, *others = (
        "That is a happy person",
        "That is a happy dog",
        "That is a very happy person",
        "Today is a sunny day",
    )
    row = similarities(encoder, [source, *others])[0]
    assert row[1:] == pytest.approx([0.6945773, 0.9429150, 0.2568760], abs=1e-5)


def test_vectors_have_length_one_and_do_not_depend_on_their_company(encoder: MiniLmEncoder) -> None:
    alone = encoder.encode(["a desert planet"])[0]
    together = encoder.encode(["a wizard's school", "a desert planet", ""])
    assert len(alone) == DIMENSIONS
    assert together[1] == alone
    assert [math.hypot(*vector) for vector in together] == pytest.approx([1, 1, 1])


def test_long_text_is_cut_where_the_model_cuts(encoder: MiniLmEncoder) -> None:
    # 256 tokens, two of which are marks.
    longest = "word " * 254
    assert encoder.encode([longest + "and much more"]) == encoder.encode([longest])
    assert encoder.encode(["word " * 200]) != encoder.encode(["word " * 201])


def test_error_function_is_exact_to_the_weights_precision() -> None:
    values = np.linspace(-6, 6, 2_001, dtype=np.float32)
    exact = [math.erf(value) for value in values.tolist()]
    assert erf(values).tolist() == pytest.approx(exact, abs=5e-7)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(EncoderError, match=r"model\.safetensors has the sha256 [0-9a-f]{64}, not 53aa5117"):
        MiniLmEncoder(tmp_path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"model\.safetensors cannot be read"):
        MiniLmEncoder(tmp_path)


def test_both_encoders_give_the_same_vectors(encoder: MiniLmEncoder) -> None:
    pytest.importorskip("sentence_transformers", reason="only the image of suggestions has torch")
    texts = ["Dune by Frank Herbert. A desert planet.", "naïve café 東京", "", "word " * 300]
    other = open_encoder("sentence-transformers").encode(texts)
    for mine, theirs in zip(encoder.encode(texts), other, strict=True):
        assert mine == pytest.approx(theirs, abs=2e-6)


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(EncoderError, match="sentence-transformers cannot be imported"):
        open_encoder("sentence-transformers")


def test_model_comes_from_the_installed_package() -> None:
    assert (model_directory() / "model.safetensors").is_file()
