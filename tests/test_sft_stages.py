"""Fine-tuning as one stage of several: hand-over, resuming, what is refused, and what a reader of a run sees."""

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tiny import parse_anything, tiny_policy

from srl import scoring as scoring_module
from srl.compute_config import ModelConfig
from srl.config import RunConfig, StageConfig
from srl.data_config import DataConfig, PromptConfig
from srl.dry_run import print_dry_run
from srl.engines.transformers import TransformersEngine
from srl.errors import ConfigError
from srl.prompts import PromptTexts
from srl.recipe import config_to_json
from srl.report.html import write_report
from srl.sft.tokens import tokenize_stage
from srl.sft.train import check_can_train
from srl.stage_data import build_stage
from srl.stages import run_recipe, run_with_display
from srl.tasks.tiny_model import save
from srl.training_config import OptimizerConfig, SamplingConfig, ScheduleConfig, SFTConfig

SOLUTION = "1. **Add** 2+{n}={s}\n\n2. **Double** {s}*2={d}\n\n3. **Conclude** The answer is \\boxed{{{d}}}."
TEXTS = PromptTexts(step_system="next", solve_system="solve")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Configs of stages by kind, on random weights whose every completion counts as well-formed."""
    monkeypatch.setattr(scoring_module, "parse_step", parse_anything)
    monkeypatch.setattr(scoring_module, "parse_solution", parse_anything)
    monkeypatch.setattr(
        scoring_module,
        "OutcomeReward",
        lambda: lambda action, target: float(len(action) > 3 and ord(action[0]) % 2 == 0),
    )
    rows = [
        {"id": f"t{n}", "problem": f"What is (2+{n})*2?", "solution": SOLUTION.format(n=n, s=2 + n, d=4 + 2 * n)}
        for n in range(8)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model, tokenizer = tiny_policy()
    save(model, tokenizer, tmp_path / "base")
    data = DataConfig(train=str(tmp_path / "train.jsonl"), num_validation_trajectories=2)
    prompt = PromptConfig(texts=TEXTS)
    sampled = {
        "sampling": SamplingConfig(group_size=4, groups_per_update=2, max_completion_tokens=5, min_reward_std=0.01),
        "optimizer": OptimizerConfig(learning_rate=1e-2),
        "schedule": ScheduleConfig(num_updates=2, validate_every=3, save_every=2),
    }
    learned = {
        "sampling": SamplingConfig(max_completion_tokens=5),
        "schedule": ScheduleConfig(validate_every=2),
        "sft": SFTConfig(batch_size=3, learning_rate=1e-2, num_epochs=2),
    }

    def config(*kinds, run_dir="run", start="base", **changes):
        return RunConfig(
            run_dir=str(tmp_path / run_dir),
            model=ModelConfig(path=str(tmp_path / start), precision="float32"),
            stages={
                kind: StageConfig(
                    kind=kind, data=data, prompt=prompt, **(learned | changes if kind == "sft" else sampled)
                )
                for kind in kinds
            },
        )

    return config


def weights(folder):
    return load_file(folder / "model.safetensors")


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def best(run_dir, stage):
    folder = run_dir / "checkpoints" / stage
    return folder / json.loads((folder / "final.json").read_text())["model"]


def test_rlvr_starts_from_the_best_weights_of_sft(run, tmp_path, monkeypatch):
    """Its first rollouts are sampled by an engine that holds, bit for bit, what SFT handed on."""
    seen = []
    stream = TransformersEngine.stream

    def spy(self, prompts, **settings):
        seen.append({name: tensor.clone() for name, tensor in self._model.state_dict().items()})
        return stream(self, chain([next(prompts)], prompts), **settings)

    monkeypatch.setattr(TransformersEngine, "stream", spy)
    run_recipe(run("sft", "rlvr"))
    saved = weights(best(tmp_path / "run", "sft"))
    assert_equal({name: seen[0][name] for name in saved}, saved)
    assert not all(torch.equal(saved[name], tensor) for name, tensor in weights(tmp_path / "base").items())


def test_a_stage_after_sft_is_the_one_that_starts_from_its_folder_alone(run, tmp_path):
    """TRL and our loop share a process and leave each other alone."""
    together = run_recipe(run("sft", "srl", "rlvr"))
    shutil.copytree(best(tmp_path / "run", "sft"), tmp_path / "handed-on")
    alone = run_recipe(run("srl", "rlvr", run_dir="alone", start="handed-on"))
    assert_equal(weights(together), weights(alone))
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(line["stage"] for line in lines)) == ["sft", "srl", "rlvr"]


@pytest.mark.parametrize("killed_in", ["sft", "rlvr"])
def test_a_killed_run_is_resumed_with_the_same_weights(run, tmp_path, killed_in):
    class KilledError(Exception):
        pass

    def kill(line):
        if (line["stage"], line["update"]) == (killed_in, 2):
            raise KilledError

    whole = run_recipe(run("sft", "rlvr", run_dir="whole"))
    with pytest.raises(KilledError):
        run_recipe(run("sft", "rlvr"), on_metrics=kill)
    assert_equal(weights(whole), weights(run_recipe(run("sft", "rlvr"), resume=True)))
    logged = [
        [(line["stage"], line["update"]) for line in map(json.loads, (tmp_path / name).read_text().splitlines())]
        for name in ("whole/metrics.jsonl", "run/metrics.jsonl")
    ]
    assert logged[0] == logged[1]


def test_problems_are_solved_at_each_validation(run, tmp_path):
    schedule = ScheduleConfig(validate_every=2, num_validation_problems=2, best_by="stepwise")
    run_recipe(run("sft", schedule=schedule))
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    solved = [line["update"] for line in lines if "validation/stepwise_accuracy" in line]
    assert solved == [line["update"] for line in lines if "validation/loss" in line] == [0, 2, 4]


def test_long_examples_are_left_out_and_counted(run, tmp_path):
    model, tokenizer = tiny_policy()
    stage = run("sft").stages["sft"]
    _, taught = tokenize_stage(build_stage("sft", stage, seed=0), model.config, tokenizer)
    lengths = sorted(map(len, [*taught.training, *taught.validation]))
    assert lengths[0] < lengths[-1]
    num_long = sum(length == lengths[-1] for length in lengths)
    run_recipe(run("sft", sft=SFTConfig(batch_size=3, num_epochs=1, max_tokens=lengths[-1] - 1)))
    recorded = json.loads((tmp_path / "run/data.json").read_text())["sft"]
    assert recorded["left_out"] == {"too_many_tokens": num_long}
    assert recorded["training"] + recorded["validation"] == 8 - num_long
    with pytest.raises(ConfigError, match=r"no example fits into 5 tokens.*sft.max_tokens = 5"):
        run_recipe(run("sft", run_dir="other", sft=SFTConfig(max_tokens=5)))


def test_without_trl_no_stage_begins(run, tmp_path):
    """It is missed at once, and not after a first stage of hours."""
    config = run("rlvr", "sft")
    (tmp_path / "recipe.json").write_text(config_to_json(config))
    code = (
        "import json, sys\n"
        "sys.modules['trl'] = None\n"
        "from pydantic import TypeAdapter\n"
        "from srl.config import RunConfig\n"
        "from srl.stages import run_recipe\n"
        f"config = TypeAdapter(RunConfig).validate_json(open({str(tmp_path / 'recipe.json')!r}).read())\n"
        "run_recipe(config)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigError: a stage of kind sft needs TRL" in result.stderr
    assert "pip install 'supervised-rl[sft]'" in result.stderr
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused():
    accelerator = SimpleNamespace(num_processes=2, device=torch.device("cpu"))
    with pytest.raises(ConfigError, match="2 were started"):
        check_can_train(accelerator)


def test_the_terminal_shows_the_loss_in_80_columns(run):
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=False)
    schedule = ScheduleConfig(validate_every=2, num_validation_problems=2)
    run_with_display(run("sft", schedule=schedule), console)
    text = output.getvalue()
    assert "sft (sft): 6 training and 2 validation examples" in text
    assert "validation loss" in text
    assert "whole   0%  stepwise   0%" in text
    assert "4/4" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_report_of_a_run_with_sft(run, tmp_path):
    run_recipe(run("sft", "rlvr"))
    page = write_report(tmp_path / "run").read_text()
    assert "sft/loss, validation/loss" in page
    assert "none; learns the expert&#39;s solution" in page
    assert "cross-entropy of completions" in page
    assert page.count("reward/mean, reward/std") == 1  # of the other stage alone
    run_recipe(run("sft", run_dir="alone"))
    page = write_report(tmp_path / "alone").read_text()
    assert "No rollouts were saved" not in page
    assert "What is missing" in page  # the scores


def test_a_dry_run_counts_examples_and_tokens(run, tmp_path):
    output = io.StringIO()
    config = run("sft", "rlvr")
    print_dry_run(config, Console(file=output, width=100))
    text = output.getvalue()
    assert "tokens per epoch" in text
    assert "; 4 updates" in text
    run_recipe(config)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    last = next(line for line in reversed(lines) if line["stage"] == "sft")
    assert f"sft: {last['sft/num_tokens'] // 2:,} tokens per epoch, {last['sft/num_learned_tokens'] // 2:,} of" in text
    elsewhere = replace(config, model=ModelConfig(path=str(tmp_path / "nowhere")))
    print_dry_run(elsewhere, Console(file=output, width=100))
    assert "unknown" in output.getvalue()
