"""Recipes: strict in, resolved out, every shipped file loads, errors say what to do."""

import dataclasses
import json
from pathlib import Path

import pytest

from srl.config import CONFIG_TYPES, RunConfig, StageConfig
from srl.errors import ConfigError
from srl.prompts import PromptTexts
from srl.recipe import config_from_dict, config_to_json, load_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))


def recipe(**changes):
    """A minimal recipe with ``changes`` to its srl stage."""
    return {
        "run_dir": "runs/x",
        "model": {"path": "m"},
        "stages": {"srl": {"kind": "srl", "data": {"train": "t.jsonl"}, **changes}},
    }


def load(raw):
    return config_from_dict(raw, name="x.toml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_and_survives_its_json(path):
    config = load_recipe(path)
    assert config_from_dict(json.loads(config_to_json(config)), name="json") == config
    assert config.run_dir == f"runs/{path.stem}"


def test_the_papers_values_are_the_defaults():
    stage = load(recipe()).stages["srl"]
    assert (stage.sampling.group_size, stage.sampling.groups_per_update, stage.sampling.temperature) == (8, 512, 1.0)
    assert (stage.optimizer.learning_rate, stage.optimizer.warmup_updates, stage.optimizer.max_grad_norm) == (
        5e-7,
        0,
        1,
    )
    assert (stage.loss.beta, stage.schedule.num_epochs, stage.reward.format_penalty) == (0.0, 30, -1.0)
    assert (stage.data.include_last_step, stage.data.num_validation_trajectories) == (False, 60)
    assert stage.reward.autojunk is False
    rlvr = load_recipe(next(path for path in RECIPES if path.stem == "math-7b-srl-rlvr")).stages["rlvr"]
    assert (rlvr.kind, rlvr.sampling.groups_per_update, rlvr.optimizer.learning_rate) == ("rlvr", 128, 5e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampling": {"temprature": 1.0}}, r"unknown key stages\.srl\.sampling\.temprature"),
        ({"sampling": {"group_size": "8"}}, r"stages\.srl\.sampling\.group_size: .*integer.*found '8'"),
        ({"sampling": {"group_size": 1}}, r"group_size must be at least 2"),
        ({"kind": "slr"}, r"'srl' or 'rlvr' \(found 'slr'\)"),
        ({"loss": {"beta": -1.0}}, r"loss\.beta must be at least 0"),
        ({"sampling": {"dynamic": False, "max_draws": 3}}, r"no effect with dynamic = false"),
        (
            {"data": {"train": "a", "validation": "b", "num_validation_trajectories": 5}},
            r"no effect when data\.validation",
        ),
        ({"kind": "rlvr", "reward": {"autojunk": True}}, r"in an rlvr stage only on_error of \[reward\] has"),
        ({"reward": {"similarity": "sequense"}}, r"'sequense' is none of sequence, words, .* and no import path"),
        ({"reward": {"similarity": {}}}, r"reward\.similarity is an empty table"),
        ({"reward": {"similarity": {"words": 0.0}}}, r"the weight of 'words' is 0\.0; it must be above 0"),
        ({"reward": {"similarity": {"words": float("inf")}}}, r"the weight of 'words' is inf; it must be .* up to 1e6"),
        ({"reward": {"format_penalty": float("-inf")}}, r"format_penalty must be a number of at most 0"),
        ({"reward": {"server": {"concurrency": 3}}}, r"\[reward\.server\] have no effect without server\.base_url"),
        ({"reward": {"similarity": "words", "autojunk": True}}, r'have no effect without "sequence"'),
        ({"reward": {"similarity": "embedding"}}, r'"embedding" needs embedding_model'),
        ({"reward": {"embedding_model": "m"}}, r'"embedding" needs embedding_model, and nothing else uses it'),
        ({"reward": {"similarity": "judge"}}, r'"judge" and finished_by = "expert" need server\.base_url'),
        ({"reward": {"server": {"base_url": "http://x/v1", "model": "m"}}}, r"need server\.base_url, and nothing else"),
        ({"reward": {"server": {"model": "m"}}}, r"server\.base_url and server\.model go together"),
        ({"reward": {"thresholds": [0.8, 0.4]}}, r"reward\.thresholds must be two numbers in order"),
        ({"reward": {"outcome_weight": 0.3}}, r'outcome_weight have no effect with outcome = "off"'),
        ({"reward": {"outcome": "gate", "outcome_weight": 0.0}}, r"outcome_weight must be in \(0, 1\]"),
        ({"reward": {"outcome": "gate", "finished_by": "expert"}}, r'finished_by = "expert" need server\.base_url'),
        ({"data": {"train": "a", "one_step": True}, "reward": {"outcome": "gate"}}, r"a whole solution needs no"),
        ({"kind": "rlvr", "prompt": {"title_in_prompt": True}}, r"in an rlvr stage only texts and max_prompt_tokens"),
        ({"prompt": {"texts": {"title_note": "no place for it"}}}, r"must contain \{title\}"),
        ({"data": {"train": "a", "min_target_chars": 9, "max_target_chars": 8}}, r"max_target_chars is below"),
        ({"data": {"train": "a", "one_step": True, "min_target_chars": 9}}, r"no effect with one_step = true"),
        (
            {"data": {"train": "a", "one_step": True}, "prompt": {"context_turns": 3}},
            r"with one_step = true only texts and max_prompt_tokens",
        ),
        ({"sampling": {"max_staleness": -1}}, r"max_staleness must be at least 0"),
        ({"sampling": {"dynamic": False, "max_staleness": 1}}, r"max_staleness have no effect with dynamic = false"),
        (
            {"sampling": {"max_staleness": 1}, "schedule": {"save_every": 1}},
            r"max_staleness has no effect with schedule\.save_every = 1",
        ),
        (
            {"loss": {"clip_high": 0.3}},
            r"no effect with optimizer\.passes_per_batch = 1 and sampling\.max_staleness = 0",
        ),
        ({"data": {"train": "a", "draw_by": "trajectory", "one_step": True}}, r"data\.draw_by has no effect"),
        ({"kind": "rlvr", "data": {"train": "a", "draw_by": "trajectory"}}, r"data\.draw_by has no effect"),
        ({"data": {}}, r"stages\.srl\.data\.train is missing"),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(change, message):
    with pytest.raises(ConfigError, match=message):
        load(recipe(**change))


@pytest.mark.parametrize("change", [
    {"loss": {"clip_high": 0.3}, "sampling": {"max_staleness": 1}},
    {"data": {"train": "a", "draw_by": "trajectory"}},
    {"kind": "rlvr", "data": {"train": "a", "draw_by": "trajectory", "starts": "expert_steps"}},
])  # fmt: skip
def test_settings_that_have_an_effect_are_taken(change):
    load(recipe(**change))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_recipe(tmp_path / "bad.toml")
    with pytest.raises(ConfigError, match="at least one"):
        load({"run_dir": "x", "model": {"path": "m"}, "stages": {}})
    with pytest.raises(ConfigError, match="stage name"):
        load({**recipe(), "stages": {"../evil": recipe()["stages"]["srl"]}})


def test_every_type_is_strict_and_every_field_documented():
    """A class missing from CONFIG_TYPES would accept unknown keys; a field without a string has no help."""

    def reachable(kind):
        yield kind
        for field in dataclasses.fields(kind):
            for other in CONFIG_TYPES:
                if other.__name__ in str(field.type) and other is not kind:
                    yield from reachable(other)

    assert set(reachable(RunConfig)) == set(CONFIG_TYPES)
    num_fields = sum(len(dataclasses.fields(kind)) for kind in CONFIG_TYPES if kind is not PromptTexts)
    # Of which 17 are of the reward (which one, its thresholds, the outcome, an endpoint), and 4 say how to be fast.
    assert num_fields < 80
    assert {field.name for field in dataclasses.fields(StageConfig)} >= {"kind", "data", "sampling", "loss"}
