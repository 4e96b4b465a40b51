"""Names in a recipe become rewards."""

from __future__ import annotations

import sys

import pytest

from srl.errors import ConfigError
from srl.reward_config import SIMILARITY_NAMES, RewardConfig
from srl.rewards.choice import SIMILARITIES, build_reward, import_reward
from srl.rewards.indel import indel_similarity
from srl.rewards.shaping import many_of
from srl.rewards.similarity import sequence_similarity
from srl.rewards.words import words_similarity
from srl.tasks import CHAINS

MODEL = str(CHAINS.base_folder)
PLAIN = ("sequence", "words", "tokens", "indel", "lcs", "chrf", "math", "shell", "tool_call")


def build(**settings):
    return build_reward(RewardConfig(**settings), model_path=MODEL)


def test_every_name_of_the_settings_is_built_here():
    assert tuple(SIMILARITIES) == SIMILARITY_NAMES


@pytest.mark.parametrize("name", PLAIN)
def test_every_similarity_that_needs_no_model_can_be_named_in_a_recipe(name):
    reward = build(similarity=name)
    assert reward("x = 1", "x = 1") == 1.0
    assert many_of(reward)([("x = 1", "x = 1"), ("y", "x = 1")])[0] == 1.0


def test_the_default_is_the_papers():
    assert build()("a cat", "a cab") == sequence_similarity("a cat", "a cab")


def test_autojunk_and_the_order_of_arguments_reach_the_papers_similarity():
    action, target = "abcd" * 60, "abce" * 60
    assert build(autojunk=True)(action, target) == sequence_similarity(action, target, autojunk=True)
    one, other = "cacc", "acabcc"  # the ratio is not symmetric here
    assert sequence_similarity(one, other) != sequence_similarity(other, one)
    assert build(first_argument="target")(one, other) == sequence_similarity(other, one)


def test_a_table_of_names_is_a_weighted_mean():
    reward = build(similarity={"words": 3, "indel": 1})
    expected = 0.75 * words_similarity("x = 1", "x = 2") + 0.25 * indel_similarity("x = 1", "x = 2")
    assert reward("x = 1", "x = 2") == pytest.approx(expected)


def test_a_table_of_one_name_is_that_similarity():
    assert build(similarity={"words": 5.0}) is words_similarity


def test_thresholds_apply_to_the_sum():
    reward = build(similarity={"words": 1, "indel": 1}, thresholds=(0.5, 0.75))
    plain = build(similarity={"words": 1, "indel": 1})("x = 1", "x = 2")
    assert reward("x = 1", "x = 2") == pytest.approx((plain - 0.5) / 0.25)


def test_a_users_function_by_its_import_path(tmp_path, monkeypatch):
    (tmp_path / "own_reward.py").write_text(
        "def same_length(action, target):\n    return float(len(action) == len(target))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert build(similarity="own_reward:same_length")("ab", "cd") == 1.0
    both = build(similarity={"own_reward:same_length": 1, "words": 1})
    assert both("ab", "cd") == 0.5
    del sys.modules["own_reward"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module_at_all:f", "cannot be imported"),
        ("math:no_such_function", "cannot be imported"),
        (":f", "cannot be imported"),
        ("math:", "cannot be imported"),
        ("math:pi", "is a float, not a function"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error_with_the_path(path, message):
    with pytest.raises(ConfigError, match=message) as raised:
        import_reward(path)
    assert repr(path) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "package"),
    [("indel", "rapidfuzz"), ("lcs", "rapidfuzz"), ("chrf", "sacrebleu"), ("shell", "tree_sitter_bash")],
)
def test_a_missing_package_ends_the_run_before_it_begins(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"package {package}, .*pip install 'supervised-rl\[similarities\]'"):
        build(similarity=name)


def test_a_missing_sentence_transformers_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"supervised-rl\[embeddings\]"):
        build(similarity="embedding", embedding_model="somewhere")
