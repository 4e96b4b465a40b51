"""docs/rewards.md: its table of names, its example of a user's own reward, its figures."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from srl.reward_config import SIMILARITY_NAMES, RewardConfig
from srl.rewards.choice import build_reward
from srl.rewards.shaping import many_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rewards.md").read_text("utf-8")


def load_make_rewards():
    spec = importlib.util.spec_from_file_location("make_rewards", ROOT / "docs" / "make_rewards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_rewards = load_make_rewards()


def test_the_table_has_every_similarity():
    section = PAGE.split("## The similarities", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(SIMILARITY_NAMES)


def test_the_measured_tables_are_those_of_the_benchmark():
    assert make_rewards.make_page() == PAGE, "run: python docs/make_rewards.py"
    figures = json.loads(make_rewards.FIGURES.read_text("utf-8"))
    named = {name.split(",")[0] for name in figures["similarities"]} | set(figures["not_measured"])
    assert named | {"shell", "tool_call"} == set(SIMILARITY_NAMES)
    assert sum(figures["sets"]["math"].values()) == 500


def test_a_page_without_marks_is_an_error():
    with pytest.raises(SystemExit, match="needs the marks of similarities once"):
        make_rewards.between("no marks", "similarities", "")
    assert make_rewards.between("<!-- a -->\nold<!-- /a -->", "a", "new\n") == "<!-- a -->\nnew\n<!-- /a -->"


def test_the_example_of_an_own_reward_works_as_it_stands(tmp_path, monkeypatch):
    code, sum_recipe = re.search(r'```python\n("""Half.*?)```', PAGE, re.DOTALL), "own_rewards:words_and_result"
    assert code is not None
    (tmp_path / "own_rewards.py").write_text(code[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    recipes = [
        tomllib.loads(block)["stages"]["srl"]["reward"] for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    ]
    assert recipes[0] == {"similarity": sum_recipe}
    target = "So the sum is 3 + 4 = 7."
    pairs = [("Adding both gives 3 + 4 = 7.", target), ("So the sum is 3 + 4 = 8.", target), (target, target)]
    *by_similarity, gated = recipes
    assert RewardConfig(**gated).outcome == "gate"
    for recipe in by_similarity:
        recipe = {key: tuple(value) if isinstance(value, list) else value for key, value in recipe.items()}
        right, wrong, equal = many_of(build_reward(RewardConfig(**recipe), model_path=""))(pairs)
        assert 0 <= wrong < right < equal == 1.0
    del sys.modules["own_rewards"]
