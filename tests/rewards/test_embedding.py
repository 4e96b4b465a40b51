"""Embeddings by a tiny model made here; nothing that could run code or unpickle is loaded."""

from __future__ import annotations

import json
import string

import pytest
import torch
from hypothesis import example, given, settings
from reward_laws import check_laws, texts
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel, BertTokenizerFast

from srl.errors import ConfigError
from srl.rewards import embedding
from srl.rewards.embedding import EmbeddingSimilarity
from srl.rewards.shaping import many_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of two layers with random weights, and mean pooling on top."""
    plain, whole = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("sentence")
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (plain / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab=str(plain / "vocab.txt"), model_max_length=64).save_pretrained(plain)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(plain)
    SentenceTransformer(str(plain), device="cpu").save(str(whole))
    return whole


@pytest.fixture(scope="module")
def similarity(folder):
    return EmbeddingSimilarity(str(folder))


def cosine(folder, one, other):
    rows = SentenceTransformer(str(folder), device="cpu").encode([one, other], convert_to_tensor=True)
    return torch.nn.functional.cosine_similarity(rows[0], rows[1], dim=0).item()


def test_it_is_the_cosine_of_the_models_embeddings(folder, similarity):
    for one, other in [("add both", "add the two"), ("x = 1", "a much longer text about something else"), ("", "a")]:
        assert similarity(one, other) == pytest.approx(max(0.0, cosine(folder, one, other)), abs=1e-5)


def test_opposite_embeddings_are_nothing(similarity, monkeypatch):
    vectors = {"a": [1.0, 0.0], "b": [-1.0, 0.0], "c": [0.6, 0.8]}
    monkeypatch.setattr(
        similarity._model, "encode", lambda texts, **options: torch.tensor([vectors[t] for t in texts]).numpy()
    )
    monkeypatch.setattr(similarity, "_embeddings", type(similarity._embeddings)())
    assert similarity.many([("a", "b"), ("a", "c"), ("c", "c")]) == [0.0, pytest.approx(0.6), 1.0]


def test_every_text_is_embedded_once(folder, monkeypatch):
    similarity = EmbeddingSimilarity(str(folder))
    asked = []
    encode = similarity._model.encode
    monkeypatch.setattr(
        similarity._model, "encode", lambda texts, **options: asked.append(list(texts)) or encode(texts, **options)
    )
    first = many_of(similarity)([("a", "t"), ("b", "t"), ("a", "t"), ("t", "t")])
    assert asked == [["a", "t", "b"]]
    assert first[0] == first[2]
    assert similarity("b", "t") == first[1]
    assert len(asked) == 1
    monkeypatch.setattr(embedding, "MAX_CACHED_TEXTS", 1)
    similarity.many([("c", "t")])
    assert list(similarity._embeddings) == ["t"]
    assert similarity.many([]) == []


@settings(max_examples=25, deadline=None)
@given(one=texts(["add ", "x = 1", "\ud800"]), other=texts(["add ", "y"]))
@example(one="", other="\ud800")
def test_laws(similarity, one, other):
    check_laws(similarity, one, other)


def test_pickled_weights_are_refused(folder, tmp_path):
    for path in folder.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (weights,) = tmp_path.rglob("model.safetensors")
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(ConfigError, match=r"pytorch_model\.bin is pickled"):
        EmbeddingSimilarity(str(tmp_path))


def test_a_module_that_would_run_code_is_refused(tmp_path):
    (tmp_path / "own.py").write_text("raise SystemExit('ran')")
    (tmp_path / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "own.Module"}]))
    with pytest.raises(ConfigError, match=r"own\.Module is not part of sentence-transformers"):
        EmbeddingSimilarity(str(tmp_path))


@pytest.mark.parametrize("content", ["", "{", '[{"path": ""}]', "[1]"])
def test_a_folder_without_a_model_is_an_error(tmp_path, content):
    if content:
        (tmp_path / "modules.json").write_text(content)
    with pytest.raises(ConfigError, match=r"(?s)cannot load a sentence-transformers model.*local folder"):
        EmbeddingSimilarity(str(tmp_path))


def test_a_name_that_is_not_there_is_an_error():
    with pytest.raises(ConfigError, match="cannot load a sentence-transformers model from 'no/such-model'"):
        EmbeddingSimilarity("no/such-model")
