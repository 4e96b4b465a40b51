"""Recipe -> stages -> policy: the data of a stage, the hand-over, and resuming a whole run."""

import json
import shutil
from itertools import chain

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_policy

from srl import scoring as scoring_module
from srl.compute_config import ModelConfig
from srl.config import RunConfig
from srl.config import StageConfig as Config
from srl.data_config import DataConfig, PromptConfig
from srl.engines.transformers import TransformersEngine
from srl.errors import ConfigError, DataError, RunDirError
from srl.prompts import PromptTexts
from srl.stage_data import build_stage, fit_prompts
from srl.stages import run_recipe
from srl.tasks.tiny_model import save
from srl.training_config import OptimizerConfig, SamplingConfig, ScheduleConfig

SOLUTION = "1. **Add** 2+{n}={s}\n\n2. **Double** {s}*2={d}\n\n3. **Conclude** The answer is \\boxed{{{d}}}."


@pytest.fixture
def trajectories(tmp_path):
    path = tmp_path / "train.jsonl"
    rows = [
        {"id": f"t{n}", "problem": f"What is (2+{n})*2?", "solution": SOLUTION.format(n=n, s=2 + n, d=4 + 2 * n)}
        for n in range(8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_srl_stage_has_n_minus_one_examples_per_trajectory(trajectories):
    data = DataConfig(train=str(trajectories), num_validation_trajectories=2)
    stage = build_stage("srl", Config(kind="srl", data=data), seed=0).stage
    assert (len(stage.training), len(stage.validation)) == (6 * 2, 2 * 2)
    held_out = {example.example_id.split("#")[0] for example in stage.validation}
    assert held_out.isdisjoint(example.example_id.split("#")[0] for example in stage.training)
    with_last = DataConfig(train=str(trajectories), num_validation_trajectories=2, include_last_step=True)
    assert len(build_stage("srl", Config(kind="srl", data=with_last), seed=0).stage.training) == 6 * 3
    titled = build_stage("srl", Config(kind="srl", data=data, prompt=PromptConfig(title_in_prompt=True)), seed=0).stage
    assert {example.target.split("=")[0][:2] for example in titled.training} <= {
        "2+",
        "2*",
        *(f"{n}*" for n in range(2, 10)),
    }


def test_an_rlvr_stage_has_one_example_per_problem(trajectories):
    data = DataConfig(train=str(trajectories), num_validation_trajectories=2)
    stage = build_stage("rlvr", Config(kind="rlvr", data=data), seed=0).stage
    assert (len(stage.training), len(stage.validation)) == (6, 2)
    example = next(item for item in [*stage.training, *stage.validation] if item.example_id == "t3")
    assert example.target == "10"
    score = stage.scoring.reward
    assert (score("so \\boxed{10}", "10"), score("so \\boxed{11}", "10")) == (1.0, 0.0)
    assert stage.scoring.format_penalty == 0.0


def test_both_stages_hold_out_the_same_trajectories(trajectories):
    data = DataConfig(train=str(trajectories), num_validation_trajectories=3)
    srl = build_stage("srl", Config(kind="srl", data=data), seed=4).stage
    rlvr = build_stage("rlvr", Config(kind="rlvr", data=data), seed=4).stage
    assert {e.example_id.split("#")[0] for e in srl.validation} == {e.example_id for e in rlvr.validation}


def test_prompts_that_do_not_fit_are_left_out_and_counted(trajectories):
    model, tokenizer = tiny_policy()
    texts = PromptTexts(step_system="next")
    data = DataConfig(train=str(trajectories), num_validation_trajectories=0)

    def measured(max_completion_tokens):
        sampling = SamplingConfig(max_completion_tokens=max_completion_tokens)
        config = Config(kind="srl", data=data, prompt=PromptConfig(texts=texts), sampling=sampling)
        return fit_prompts(build_stage("srl", config, seed=0), model.config, tokenizer)

    whole, lengths = measured(1)
    assert len(lengths) == len(whole.stage.training) == 16
    assert whole.dropped == {}
    window = model.config.max_position_embeddings
    fitting, rest = measured(window - sorted(lengths)[7])
    assert sorted(rest) == [length for length in sorted(lengths) if length <= sorted(lengths)[7]]
    assert fitting.dropped == {"prompt_too_long": 16 - len(rest)}
    with pytest.raises(ConfigError, match="lower max_completion_tokens or choose another model"):
        measured(window)


@pytest.fixture
def run(tmp_path, trajectories, monkeypatch):
    """A config of two short stages on random weights whose every completion counts as well-formed."""
    from tiny import parse_anything

    monkeypatch.setattr(scoring_module, "parse_step", parse_anything)
    monkeypatch.setattr(scoring_module, "parse_solution", parse_anything)
    monkeypatch.setattr(
        scoring_module,
        "OutcomeReward",
        lambda: lambda action, target: float(len(action) > 3 and ord(action[0]) % 2 == 0),
    )
    model, tokenizer = tiny_policy()
    save(model, tokenizer, tmp_path / "base")
    common = {
        "sampling": SamplingConfig(group_size=4, groups_per_update=2, max_completion_tokens=5, min_reward_std=0.01),
        "optimizer": OptimizerConfig(learning_rate=1e-2),
        "schedule": ScheduleConfig(num_updates=3, validate_every=3, save_every=2),
    }
    texts = PromptTexts(step_system="next", solve_system="solve")
    data = DataConfig(train=str(trajectories), num_validation_trajectories=2)

    def config(run_dir="run", **changes):
        return RunConfig(
            run_dir=str(tmp_path / run_dir),
            model=ModelConfig(path=str(tmp_path / "base"), precision="float32"),
            stages={
                kind: Config(kind=kind, data=data, prompt=PromptConfig(texts=texts), **(common | changes))
                for kind in ("srl", "rlvr")
            },
        )

    return config


def test_stage_two_starts_from_stage_ones_weights(run, tmp_path, monkeypatch):
    """RLVR's first rollouts are sampled by an engine that holds what SRL handed on."""
    seen = []
    stream = TransformersEngine.stream

    def spy(self, prompts, **settings):
        first = next(prompts)
        system = first.messages[0]["content"]
        seen.append((system, {name: tensor.clone() for name, tensor in self._model.state_dict().items()}))
        return stream(self, chain([first], prompts), **settings)

    monkeypatch.setattr(TransformersEngine, "stream", spy)
    run_recipe(run())
    first = next(weights for system, weights in seen if system == "solve")
    handed_on = json.loads((tmp_path / "run/checkpoints/srl/final.json").read_text())["model"]
    saved = load_file(tmp_path / "run/checkpoints/srl" / handed_on / "model.safetensors")
    base = load_file(tmp_path / "base" / "model.safetensors")
    assert all(torch.equal(first[name], tensor) for name, tensor in saved.items())
    assert not all(torch.equal(base[name], tensor) for name, tensor in saved.items())


def test_a_whole_run_resumes_at_any_stage(run, tmp_path):
    final = run_recipe(run())
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [(json.loads(line)["stage"], json.loads(line)["update"]) for line in lines] == [
        (stage, update) for stage in ("srl", "rlvr") for update in range(4)
    ]
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    copied = tmp_path / "copy/checkpoints/rlvr"
    (copied / "final.json").unlink()  # as if killed before the second stage ended
    shutil.rmtree(copied / "update-00003")
    (tmp_path / "copy/config.json").write_text((tmp_path / "run/config.json").read_text().replace('/run"', '/copy"'))
    again = run_recipe(run(run_dir="copy"), resume=True)
    one, other = load_file(final / "model.safetensors"), load_file(again / "model.safetensors")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_folder_is_never_overwritten_and_never_mixed(run, tmp_path):
    run_recipe(run())
    with pytest.raises(RunDirError, match="exists already"):
        run_recipe(run())
    with pytest.raises(RunDirError, match=r"stages\.srl\.optimizer\.learning_rate: 0\.01 -> 0\.5"):
        run_recipe(run(optimizer=OptimizerConfig(learning_rate=0.5)), resume=True)
    with pytest.raises(RunDirError, match="no run to resume"):
        run_recipe(run(run_dir="new"), resume=True)
    assert not (tmp_path / "new").exists()


def test_environment_and_config_are_recorded(run, tmp_path):
    run_recipe(run())
    environment = json.loads((tmp_path / "run/environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__.split("+")[0] or environment["versions"]["torch"]
    assert environment["hardware"]["num_processes"] == 1
    assert json.loads((tmp_path / "run/config.json").read_text())["stages"]["rlvr"]["kind"] == "rlvr"


def test_missing_data_and_missing_models_are_clear(run, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        build_stage("srl", Config(kind="srl", data=DataConfig(train=str(tmp_path / "nowhere.jsonl"))), seed=0)
    config = run()
    broken = RunConfig(run_dir=config.run_dir, model=ModelConfig(path=str(tmp_path / "none")), stages=config.stages)
    with pytest.raises(DataError, match="cannot load a causal language model"):
        run_recipe(broken)


def test_a_validation_file_that_shares_problems_with_training_is_refused(trajectories):
    data = DataConfig(train=str(trajectories), validation=str(trajectories))
    with pytest.raises(DataError, match="8 problems stand in both"):
        build_stage("srl", Config(kind="srl", data=data), seed=0)


def test_processes_that_do_not_know_of_each_other_are_refused(run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes were started, but accelerate runs 1"):
        run_recipe(run())
