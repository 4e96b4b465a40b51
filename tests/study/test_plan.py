"""Study, method and seed -> the run, with base, data and budget filled in."""

import json
from pathlib import Path

import pytest
from made_rows import make_study

from srl.errors import ConfigError
from srl.study.config import BudgetConfig, MapConfig, MethodConfig, TaskConfig, load_study
from srl.study.map import cell_study, cells
from srl.study.plan import RunKey, describe_run, evaluation_stage, resolve, run_keys
from srl.study.rows import setting_differences
from srl.study.task_data import TaskFiles, prepare_task

RECIPE = """
run_dir = "anywhere"
[model]
path = "some/model"
[stages.srl]
kind = "srl"
[stages.srl.data]
train = "elsewhere.jsonl"
num_validation_trajectories = 5
[stages.srl.schedule]
num_updates = 7
[stages.rlvr]
kind = "rlvr"
[stages.rlvr.data]
train = "elsewhere.jsonl"
"""
SFT = """
run_dir = "anywhere"
[model]
path = "some/model"
[stages.sft]
kind = "sft"
[stages.sft.data]
train = "elsewhere.jsonl"
[stages.sft.sft]
teach = "solution"
"""
SHARES = {"srl": 0.75, "rlvr": 0.25}


@pytest.fixture
def files(tmp_path):
    for name in ("train", "validation", "train-traces", "validation-traces", "test"):
        (tmp_path / f"{name}.jsonl").write_text(name)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "sft.toml").write_text(SFT)
    return TaskFiles(
        base=str(tmp_path / "base"),
        train=str(tmp_path / "train.jsonl"),
        validation=str(tmp_path / "validation.jsonl"),
        train_traces=str(tmp_path / "train-traces.jsonl"),
        validation_traces=str(tmp_path / "validation-traces.jsonl"),
        problems=str(tmp_path / "test.jsonl"),
    )


def resolved(tmp_path, files, method, *, budget=None, task=None, seed=3):
    study = make_study(
        tmp_path / "out",
        methods={"m": method},
        budget=budget or BudgetConfig(rollouts=1000),
        task=task or TaskConfig(name="chains"),
    )
    return resolve(study, tmp_path / "study.toml", RunKey(method="m", seed=seed), files)


def test_what_must_be_equal_is_filled_in(tmp_path, files):
    config = resolved(tmp_path, files, MethodConfig(recipe="recipe.toml", shares=SHARES))
    assert (config.run_dir, config.seed, config.model.path) == (str(tmp_path / "out/runs/m-3"), 3, files.base)
    for stage in config.stages.values():
        assert (stage.data.train, stage.data.validation) == (files.train, files.validation)
        assert stage.schedule.num_updates == 0
    assert [stage.schedule.max_rollouts for stage in config.stages.values()] == [750, 250]


@pytest.mark.parametrize(
    ("budget", "setting", "amounts"),
    [
        (BudgetConfig(tokens=10_000), "max_sampled_tokens", [7500, 2500]),
        (BudgetConfig(seconds=60), "max_seconds", [45, 15]),
    ],
)
def test_a_budget_is_shared_in_its_own_unit(tmp_path, files, budget, setting, amounts):
    config = resolved(tmp_path, files, MethodConfig(recipe="recipe.toml", shares=SHARES), budget=budget)
    assert [getattr(stage.schedule, setting) for stage in config.stages.values()] == amounts
    assert all(stage.schedule.max_rollouts == 0 for stage in config.stages.values())


def test_an_example_of_sft_counts_as_a_rollout(tmp_path, files):
    config = resolved(tmp_path, files, MethodConfig(recipe="sft.toml"))
    assert config.stages["sft"].sft.num_examples == 1000


def test_traces_are_read_by_the_stages_that_say_so(tmp_path, files):
    config = resolved(tmp_path, files, MethodConfig(recipe="sft.toml", traces=True))
    assert config.stages["sft"].data.train == files.train_traces
    config = resolved(tmp_path, files, MethodConfig(recipe="recipe.toml", shares=SHARES, traces=("rlvr",)))
    assert [stage.data.train for stage in config.stages.values()] == [files.train, files.train_traces]
    with pytest.raises(ConfigError, match=r"traces names sft; the recipe has srl, rlvr"):
        resolved(tmp_path, files, MethodConfig(recipe="recipe.toml", shares=SHARES, traces=("sft",)))


def test_settings_are_changed_by_their_path(tmp_path, files):
    changes = {"stages.srl.sampling.dynamic": False, "stages.srl.sampling.group_size": 4}
    config = resolved(tmp_path, files, MethodConfig(recipe="recipe.toml", shares=SHARES, set=changes))
    assert (config.stages["srl"].sampling.dynamic, config.stages["srl"].sampling.group_size) == (False, 4)
    task = TaskConfig(name="chains", num_validation_problems=9)
    config = resolved(tmp_path, files, MethodConfig(recipe="recipe.toml", shares=SHARES), task=task)
    assert all(stage.schedule.num_validation_problems == 9 for stage in config.stages.values())


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (MethodConfig(recipe="recipe.toml"), r"methods.m: the recipe has the stages srl, rlvr; give each its share"),
        (MethodConfig(recipe="none.toml"), r"methods.m: cannot read the recipe .*none.toml"),
        (
            MethodConfig(recipe="recipe.toml", shares=SHARES, set={"stages.srl.sampling.groupsize": 4}),
            r"no setting 'stages.srl.sampling.groupsize'; there is .*group_size",
        ),
        (
            MethodConfig(recipe="recipe.toml", shares=SHARES, set={"stages.sft.data.train": ""}),
            r"no setting 'stages.sft.data.train'",
        ),
        (
            MethodConfig(recipe="recipe.toml", shares=SHARES, set={"stages.srl.sampling.group_size": 1}),
            r"methods.m: .*group_size",
        ),
    ],
)  # fmt: skip
def test_a_method_that_cannot_be_run_is_named(tmp_path, files, method, message):
    with pytest.raises(ConfigError, match=message):
        resolved(tmp_path, files, method)


def test_a_row_stays_valid_while_nothing_that_matters_changes(tmp_path, files):
    key, path = RunKey(method="m", seed=0), tmp_path / "study.toml"

    def described(**changes):
        given = {"methods": {"m": MethodConfig(recipe="recipe.toml", shares=SHARES)}} | changes
        return describe_run(make_study(tmp_path / "out", **given), path, key, files)

    plain = described()
    assert setting_differences(plain, described(title="Other", seeds=(5,))) == {}
    other = described(
        methods={"m": MethodConfig(recipe="recipe.toml", shares=SHARES, set={"stages.srl.loss.beta": 0.1})}
    )
    assert setting_differences(plain, other) == {"recipe": ["recipe.stages.srl.loss.beta: 0.0 -> 0.1"]}
    assert list(setting_differences(plain, described(budget=BudgetConfig(rollouts=900)))) == ["budget"]
    assert list(setting_differences(plain, described(task=TaskConfig(name="chains", num_samples=9)))) == ["evaluation"]
    Path(files.train).write_text("other trajectories")
    assert list(setting_differences(plain, described())) == ["data"]
    Path(files.base, "config.json").write_text('{"other": 1}')
    assert list(setting_differences(plain, described())) == ["base", "data"]


def test_a_setting_that_did_not_exist_when_a_row_was_made_is_no_difference(tmp_path, files):
    study = make_study(tmp_path / "out", methods={"m": MethodConfig(recipe="recipe.toml", shares=SHARES)})
    new = describe_run(study, tmp_path / "study.toml", RunKey(method="m"), files)
    old = json.loads(json.dumps(new))
    del old["recipe"]["stages"]["srl"]["sampling"]["temperature"]
    assert setting_differences(old, new) == {}
    new["recipe"]["stages"]["srl"]["sampling"]["temperature"] = 0.5
    assert "recipe.stages.srl.sampling.temperature: 1.0 -> 0.5" in setting_differences(old, new)["recipe"]


def test_everybody_is_asked_with_the_prompts_of_an_srl_stage(tmp_path, files):
    (tmp_path / "asks.toml").write_text(
        RECIPE.replace("[stages.srl.schedule]", '[stages.srl.prompt]\ncontext_in = "assistant"\n[stages.srl.schedule]')
    )
    methods = {"sft": MethodConfig(recipe="sft.toml"), "srl": MethodConfig(recipe="asks.toml", shares=SHARES)}
    study = make_study(tmp_path / "out", methods=methods, compare_with="sft")
    for method in ("base", "sft", "srl"):
        stage = evaluation_stage(study, tmp_path / "study.toml", RunKey(method=method), files)
        assert stage.prompt.context_in == "assistant"


def test_the_grid_has_the_base_once_and_goes_seed_by_seed(tmp_path):
    keys = run_keys(make_study(tmp_path, seeds=(4, 2)))
    assert [key.name for key in keys] == ["base", "srl-4", "rlvr-4", "srl-2", "rlvr-2"]


def test_data_of_an_embedded_task_are_made_once(tmp_path):
    study = make_study(tmp_path, task=TaskConfig(name="chains", num_train=3, num_validation=2, num_test=4))
    files = prepare_task(study)
    assert [len(Path(path).read_text().splitlines()) for path in (files.train, files.validation, files.problems)] == [
        3,
        2,
        4,
    ]
    assert "<think>" in Path(files.train_traces).read_text()
    before = files.fingerprints()
    assert prepare_task(study).fingerprints() == before
    other = prepare_task(
        make_study(tmp_path, task=TaskConfig(name="chains", num_train=4, num_validation=2, num_test=4))
    )
    assert other.fingerprints()["train"] != before["train"]
    assert other.fingerprints()["problems"] == before["problems"]


def test_the_cells_of_a_map_are_studies_with_their_own_base_and_data(tmp_path):
    chosen = MapConfig(careless=(0.9, 0.5), num_train=(4, 8), methods=("srl",))
    study = make_study(tmp_path, map=chosen)
    assert [cell.name for cell in cells(study)] == [
        "careless-0.9-train-4", "careless-0.9-train-8", "careless-0.5-train-4", "careless-0.5-train-8",
    ]  # fmt: skip
    part = cell_study(study, "careless-0.5-train-8")
    assert (part.task.num_train, list(part.methods), part.map) == (8, ["srl"], None)
    assert part.task.base == str(tmp_path / "bases" / "chains-careless-0.5")
    assert part.folder == str(tmp_path / "cells" / "careless-0.5-train-8")
    with pytest.raises(ConfigError, match="no cell 'x'"):
        cell_study(study, "x")


STUDY = """
title = "T"
folder = "out"
[task]
name = "chains"
[budget]
rollouts = 10
[methods.srl]
recipe = "r.toml"
"""


def test_a_study_file_is_read(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(
        STUDY + 'set = { "stages.srl.sampling.dynamic" = false }\n[tables.main]\ntitle = "M"\nmethods = ["srl"]\n'
    )
    study = load_study(path)
    assert study.methods["srl"].set == {"stages.srl.sampling.dynamic": False}
    assert (study.seeds, study.compare_with, study.tables["main"].methods) == ((0, 1, 2), "rlvr", ("srl",))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "T"', 'titel = "T"', "unknown key titel"),
        ("rollouts = 10", "", "exactly one of rollouts, tokens and seconds"),
        ("rollouts = 10", "rollouts = 10\nseconds = 5.0", "exactly one"),
        ("[methods.srl]", "[methods.base]", "cannot be used"),
        ('name = "chains"', 'name = "own"', "needs task.base, task.train, task.validation, task.problems"),
        ('name = "chains"', 'name = "chains"\ntrain = "x"', "no effect with the embedded task"),
        ('title = "T"', 'title = "T"\nseeds = [1, 1]', "each once"),
        ('recipe = "r.toml"', 'recipe = "r.toml"\nshares = { srl = 0.5 }', "must add up to 1"),
        (
            'recipe = "r.toml"',
            'recipe = "r.toml"\n[tables.a]\ntitle = "A"\nmethods = ["x"]',
            "tables.a.methods names x",
        ),
        (
            'recipe = "r.toml"',
            'recipe = "r.toml"\n[map]\ncareless = [0.5]\nnum_train = []',
            "num_train needs at least one",
        ),
    ],
)
def test_a_bad_study_file_is_refused_with_the_key(tmp_path, old, new, message):
    path = tmp_path / "study.toml"
    path.write_text(STUDY.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_study(path)


def test_a_missing_study_file_is_said(tmp_path):
    with pytest.raises(ConfigError, match="there is no study file"):
        load_study(tmp_path / "none.toml")
