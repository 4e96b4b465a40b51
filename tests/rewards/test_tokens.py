"""Tokens of the policy's own tokenizer, from a folder."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import example, given, settings
from reward_laws import check_laws, texts
from transformers import AutoTokenizer, BertTokenizerFast

from srl.errors import ConfigError
from srl.rewards.tokens import TokenSimilarity
from srl.tasks import CHAINS

MODEL = CHAINS.base_folder
SIMILARITY = TokenSimilarity.from_pretrained(str(MODEL))
TOKENIZER = AutoTokenizer.from_pretrained(MODEL)
PIECES = ["<think>", "</s>", " ", "seven times six", "x = 42", "\n", "\ud800", "é"]


@settings(max_examples=100, deadline=None)
@given(texts(PIECES), texts(PIECES))
@example("", "")
@example("\ud800", "?")
def test_laws(action, target):
    check_laws(SIMILARITY, action, target)


def test_equal_to_difflib_on_the_tokenizers_own_ids():
    pairs = [("seven times six is 42", "six times seven is 42"), ("x = 1", "y = 1"), ("", "x")]
    for action, target in pairs:
        ids = [TOKENIZER.encode(text, add_special_tokens=False) for text in (action, target)]
        expected = difflib.SequenceMatcher(None, *ids, autojunk=False).ratio()
        assert SIMILARITY(action, target) == expected
    assert SIMILARITY.many(pairs) == [SIMILARITY(*pair) for pair in pairs]
    assert SIMILARITY.many([]) == []


def test_what_the_tokenizer_puts_around_a_text_does_not_count(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb")
    tokenizer = BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"))
    assert len(tokenizer.encode("a")) == 3
    assert TokenSimilarity(tokenizer)("a", "b") == 0.0


def test_a_lone_surrogate_is_a_question_mark():
    assert SIMILARITY("a\ud800b", "a?b") == 1.0


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_folder_without_a_tokenizer_is_an_error(tmp_path, content):
    if content:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=r"(?s)cannot load a tokenizer from .*local folder"):
        TokenSimilarity.from_pretrained(str(tmp_path))
