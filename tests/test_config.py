"""Recipes: strict in, resolved out, every shipped file loads, errors say what to do."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.config import CONFIG_TYPES, RunConfig, StageConfig
from srl.errors import ConfigError
from srl.prompts import PromptTexts
from srl.recipe import config_from_dict, config_to_json, load_recipe
from srl.training_config import ScheduleConfig

STAGED = {"train": "a", "starts": "staged"}
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
        ({"kind": "slr"}, r"'srl', 'rlvr' or 'sft' \(found 'slr'\)"),
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
        # what draws
        ({"data": {"train": "a", "starts": "mixed"}}, r"data\.starts has no effect in an srl stage"),
        ({"data": {"train": "a", "num_start_stages": 3}}, r"num_start_stages has no effect without .* \"staged\""),
        (
            {"kind": "rlvr", "data": {"train": "a", "starts": "mixed", "num_start_stages": 3}},
            r"num_start_stages has no effect without",
        ),
        ({"kind": "rlvr", "data": STAGED | {"num_start_stages": 1}}, r"num_start_stages must be at least 2"),
        (
            {"kind": "rlvr", "data": STAGED, "selection": {"num_rollouts": 4, "easy_share": 0.5}},
            r"two orders of the same examples",
        ),
        ({"selection": {"num_rollouts": 1, "easy_share": 0.5}}, r"selection\.num_rollouts must be 0 or at least 2"),
        ({"selection": {"num_rollouts": 4}}, r"selection\.num_rollouts has no effect alone"),
        ({"selection": {"min_reward_std": 0.1}}, r"no effect with selection\.num_rollouts = 0"),
        ({"selection": {"max_mean_reward": 0.5}}, r"no effect with selection\.num_rollouts = 0"),
        ({"selection": {"easy_share": 0.5}}, r"no effect with selection\.num_rollouts = 0"),
        ({"selection": {"full_at": 0.7}}, r"selection\.full_at has no effect with selection\.easy_share = 1"),
        (
            {"selection": {"num_rollouts": 4, "min_reward_std": 0.1, "full_at": 0.7}},
            r"selection\.full_at has no effect with selection\.easy_share = 1",
        ),
        ({"selection": {"num_rollouts": 4, "easy_share": 0.0}}, r"selection\.easy_share must be in \(0, 1\]"),
        ({"selection": {"num_rollouts": 4, "easy_share": 0.5, "full_at": 0.0}}, r"full_at must be in \(0, 1\]"),
        ({"selection": {"num_rollouts": 4, "max_mean_reward": 1.5}}, r"max_mean_reward must be at most 1"),
        ({"selection": {"max_mean_reward": 1.5}}, r"max_mean_reward must be at most 1"),
        ({"selection": {"num_rollouts": 4, "max_mean_reward": float("nan")}}, r"max_mean_reward must be at most 1"),
        ({"interleave": {"first_share": -0.1}}, r"interleave\.first_share must be in \[0, 1\]"),
        ({"interleave": {"last_share": 1.1}}, r"interleave\.last_share must be in \[0, 1\]"),
        ({"kind": "rlvr", "interleave": {"last_share": 0.5}}, r"\[interleave\] has no effect in an rlvr stage"),
        # the policy's own steps
        ({"prompt": {"own_steps_min_reward": 1.0}}, r'have no effect with own_steps = "off"'),
        ({"prompt": {"own_steps_after": 0.5}}, r'have no effect with own_steps = "off"'),
        ({"prompt": {"own_steps": "thoughts"}}, r'"thoughts" needs context_in = "assistant"'),
        ({"prompt": {"own_steps": "steps", "own_steps_after": 1.0}}, r"own_steps_after must be in \[0, 1\)"),
        ({"prompt": {"own_steps": "steps", "own_steps_min_reward": 1.1}}, r"own_steps_min_reward must be at most 1"),
        ({"kind": "rlvr", "prompt": {"own_steps": "steps"}}, r"in an rlvr stage only texts and max_prompt_tokens"),
        (
            {"kind": "rlvr", "data": {"train": "a", "starts": "mixed"}, "prompt": {"own_steps": "steps"}},
            r"in an rlvr stage only texts and max_prompt_tokens",
        ),
        (
            {"data": {"train": "a", "one_step": True}, "prompt": {"own_steps": "steps"}},
            r"with one_step = true only texts and max_prompt_tokens",
        ),
        (
            {"kind": "sft", "sft": {"teach": "steps"}, "prompt": {"own_steps": "steps"}},
            r"own_steps has no effect in an",
        ),
        ({"kind": "rlvr", "prompt": {"context_in": "assistant"}}, r"in an rlvr stage only texts"),
        # limits, validation, length
        ({"schedule": {"max_sampled_tokens": -1}}, r"max_sampled_tokens must be at least 0"),
        ({"schedule": {"max_seconds": -1.0}}, r"max_seconds must be at least 0"),
        ({"schedule": {"max_seconds": float("nan")}}, r"max_seconds must be at least 0"),
        ({"schedule": {"num_validation_problems": -1}}, r"num_validation_problems must be at least 0"),
        ({"schedule": {"best_by": "whole"}}, r'"stepwise" need schedule\.num_validation_problems'),
        ({"schedule": {"best_by": "stepwise"}}, r'"stepwise" need schedule\.num_validation_problems'),
        ({"sampling": {"overlong_tokens": -1}}, r"overlong_tokens must be at least 0"),
        ({"sampling": {"overlong_tokens": 64, "max_completion_tokens": 64}}, r"and below max_completion_tokens"),
        ({"sampling": {"overlong_tokens": 8}, "reward": {"outcome": "gate"}}, r"overlong_tokens does not go together"),
        # what nothing is sampled for
        (
            {"kind": "sft", "selection": {"num_rollouts": 4, "easy_share": 0.5}},
            r"\[selection\] have no effect in an sft",
        ),
        ({"kind": "sft", "interleave": {"last_share": 0.5}}, r"\[interleave\] have no effect in an sft stage"),
        ({"kind": "sft", "loss": {"scale_by_std": False}}, r"\[loss\] have no effect in an sft stage"),
        ({"kind": "sft", "sampling": {"overlong_tokens": 8}}, r"in an sft stage only max_completion_tokens"),
        ({"kind": "sft", "schedule": {"max_sampled_tokens": 8}}, r"in an sft stage only validate_every"),
        ({"kind": "sft", "schedule": {"max_seconds": 8.0}}, r"in an sft stage only validate_every"),
        (
            {"kind": "sft", "data": {"train": "a", "starts": "staged"}},
            r"data\.starts and data\.one_step have no effect",
        ),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(change, message):
    with pytest.raises(ConfigError, match=message):
        load(recipe(**change))


@pytest.mark.parametrize("change", [
    {"loss": {"clip_high": 0.3}, "sampling": {"max_staleness": 1}},
    {"data": {"train": "a", "draw_by": "trajectory"}},
    {"kind": "rlvr", "data": {"train": "a", "draw_by": "trajectory", "starts": "mixed"}},
    {"kind": "rlvr", "data": STAGED | {"num_start_stages": 3, "draw_by": "trajectory"}},
    {"kind": "rlvr", "data": STAGED, "selection": {"num_rollouts": 4, "min_reward_std": 0.1}},
    {"selection": {"num_rollouts": 2, "easy_share": 0.25, "full_at": 1.0}},
    {"selection": {"num_rollouts": 2, "max_mean_reward": 0.0}},
    {"interleave": {"first_share": 1.0}, "reward": {"outcome": "gate"}},
    {"interleave": {"last_share": 0.5}, "data": {"train": "a", "one_step": True}},
    {"prompt": {"own_steps": "steps", "own_steps_min_reward": 1.0, "own_steps_after": 0.5, "title_in_prompt": True}},
    {"prompt": {"own_steps": "thoughts", "context_in": "assistant"}},
    {"kind": "rlvr", "prompt": {"context_in": "assistant"}, "schedule": {"num_validation_problems": 8}},
    {"schedule": {"num_validation_problems": 8, "best_by": "stepwise"}},
    {"sampling": {"overlong_tokens": 63, "max_completion_tokens": 64}},
    {"loss": {"scale_by_std": False}},
])  # fmt: skip
def test_settings_that_have_an_effect_are_taken(change):
    load(recipe(**change))


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 4), max_size=6), st.tuples(*[st.integers(0, 99)] * 4))
def test_the_used_share_rises_from_0_to_1_with_what_is_spent(steps, limits):
    """1 exactly when a limit is reached, whatever was spent before the first update."""
    names = ("num_updates", "max_rollouts", "max_sampled_tokens", "max_seconds")
    schedule = ScheduleConfig(**{name: float(limit) if name == "max_seconds" else limit
                                 for name, limit in zip(names, limits, strict=True)})  # fmt: skip
    spent = before = steps[0] if steps else (0, 0, 0, 0)
    shares = []
    for step in [(0, 0, 0, 0), *steps[1:]]:
        spent = tuple(sum(pair) for pair in zip(spent, step, strict=True))
        shares.append(schedule.used_share(spent, before))
        reached = any(limit and now >= limit for now, limit in zip(spent, limits, strict=True))
        assert (shares[-1] >= 1) == reached
        if not reached:
            ways = [(now - then, limit - then) for now, then, limit in zip(spent, before, limits, strict=True) if limit]
            assert shares[-1] == max((done / whole for done, whole in ways), default=0)
    assert shares == sorted(shares)
    assert shares[0] == float(any(limit and then >= limit for then, limit in zip(before, limits, strict=True)))


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
    # Of which 17 are of the reward (which one, its thresholds, the outcome, an endpoint), 4 say how to be fast, 8 are
    # of fine-tuning, and 23 choose among the methods of the comparison (docs/methods).
    assert num_fields < 112
    assert {field.name for field in dataclasses.fields(StageConfig)} >= {"kind", "data", "sampling", "loss"}
