"""The whole quickstart at the smallest size, by the real code: files, scores, comparison, resuming."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from srl.quickstart import run as quickstart_module
from srl.quickstart.run import (
    QuickstartResult,
    prepare,
    print_result,
    quickstart,
    quickstart_config,
    recipe_path,
)
from srl.recipe import load_recipe
from srl.tasks import CHAINS
from srl.tasks.pretraining import BaseRecipe, rebuild_base
from srl.types import Score


@pytest.fixture
def small(monkeypatch):
    """Two updates per stage on a handful of problems; the shipped base, so that rewards differ."""
    monkeypatch.setattr(quickstart_module, "NUM_TRAIN", 6)
    monkeypatch.setattr(quickstart_module, "NUM_VALIDATION", 2)
    monkeypatch.setattr(quickstart_module, "NUM_TEST", 3)
    monkeypatch.setattr(quickstart_module, "NUM_SAMPLES", 2)
    monkeypatch.setattr(quickstart_module, "SHOWN_SCORES", ("steps/greedy", "stepwise/avg@2", "whole/avg@2"))

    def config(run_dir, data, *, seed):
        full = quickstart_config(run_dir, data, seed=seed)
        stages = {
            name: replace(
                stage,
                sampling=replace(stage.sampling, group_size=4, groups_per_update=1, max_draws=6),
                schedule=replace(stage.schedule, num_updates=1, validate_every=1, save_every=1),
            )
            for name, stage in full.stages.items()
        }
        return replace(full, stages=stages)

    monkeypatch.setattr(quickstart_module, "quickstart_config", config)


@pytest.mark.slow
def test_everything_a_run_promises_is_there(small, tmp_path):
    run_dir = tmp_path / "q"
    result = quickstart(run_dir, Console(width=80, file=(tmp_path / "out.txt").open("w")), seed=0, compare=True)
    assert list(result.models) == ["base", "srl", "rlvr", "rlvr-alone", "sft"]
    for name in ("config.json", "environment.json", "metrics.jsonl", "scores.json", "report.html", "checkpoints"):
        assert (run_dir / name).exists(), name
    scores = json.loads((run_dir / "scores.json").read_text())
    names = [
        "steps/greedy",
        *(f"{mode}/{kind}" for mode in ("stepwise", "whole") for kind in ("greedy", "avg@2", "pass@2")),
    ]
    for model in ("base", "srl", "rlvr"):
        by_name = {score["name"]: score for score in scores["models"][model]}
        assert list(by_name) == names
        assert all(score["low"] <= score["value"] <= score["high"] for score in by_name.values())
        assert by_name["steps/greedy"]["num_samples"] == 18
        assert by_name["whole/avg@2"]["num_problems"] == 3
    assert result.sampled_tokens["rlvr"] > result.sampled_tokens["srl"] > 0
    again = quickstart(run_dir, Console(file=(tmp_path / "out2.txt").open("w")), seed=0, compare=True, resume=True)
    assert again.models == result.models


def test_the_table_fits_into_80_columns_and_shows_what_was_measured(tmp_path):
    score = Score(name="x", value=0.5, low=0.25, high=1.0, num_problems=4, num_samples=4)
    scores = [replace(score, name=name) for name in quickstart_module.SHOWN_SCORES]
    models = {"base": scores, "rlvr-alone": scores}
    result = QuickstartResult(
        models=models, sampled_tokens={"base": 0, "rlvr-alone": 1_234_567}, seconds={"train": 9.0}
    )
    console = Console(width=80, record=True, file=(tmp_path / "out.txt").open("w"))
    print_result(result, console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "[25-100]" in text
    assert "1.23 M" in text


def test_the_recipe_of_the_quickstart_is_the_shipped_one(tmp_path):
    config = quickstart_config(tmp_path / "r", tmp_path / "d", seed=3)
    shipped = load_recipe(recipe_path("quickstart"))
    assert (config.seed, config.run_dir) == (3, str(tmp_path / "r"))
    assert config.stages["srl"].sampling == shipped.stages["srl"].sampling
    assert {stage.prompt.texts for stage in shipped.stages.values()} == {CHAINS.texts}  # what the base was taught
    assert config.stages["rlvr"].data.train == str(tmp_path / "d" / "train.jsonl")


def test_a_base_from_nothing_replaces_the_shipped_one_and_resuming_keeps_it(small, tmp_path, monkeypatch):
    """What --rebuild-base does, with a recipe of two updates; the next run without it gets the shipped base again."""
    recipe = BaseRecipe(num_updates=2, tokens_per_update=512, hidden_size=32, num_layers=1, num_heads=2)
    monkeypatch.setattr(
        quickstart_module,
        "rebuild_base",
        lambda task, folder, log_every: rebuild_base(task, folder, recipe, log_every=log_every),
    )
    console = Console(file=(tmp_path / "out.txt").open("w"))
    prepare(tmp_path / "data", console, from_nothing=True)
    rebuilt = (tmp_path / "data/base/model.safetensors").read_bytes()
    shipped = (CHAINS.base_folder / "model.safetensors").read_bytes()
    assert rebuilt != shipped
    prepare(tmp_path / "data", console, from_nothing=False, keep_base=True)
    assert (tmp_path / "data/base/model.safetensors").read_bytes() == rebuilt
    prepare(tmp_path / "data", console, from_nothing=False)
    assert (tmp_path / "data/base/model.safetensors").read_bytes() == shipped
    assert {path.name for path in (tmp_path / "data").iterdir() if path.is_dir()} == {"base"}
