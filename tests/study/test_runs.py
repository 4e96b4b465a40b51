"""Real runs: a policy that learns nothing, one that fails, and a study that is killed and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_rows import make_study
from tiny import tiny_policy

from srl.errors import ConfigError, DataError, RunDirError
from srl.report.html import report_command
from srl.study.command import study_command
from srl.study.config import BudgetConfig, MethodConfig, TaskConfig
from srl.study.grid import Job, Progress, missing_jobs, run_jobs
from srl.study.one_run import _lock, run_one
from srl.study.plan import RunKey, run_keys
from srl.study.rows import read_rows, write_row

TEXTS = """
step_system = "next"
solve_system = "solve"
context_heading = ""
first_step_note = ""
title_note = "{title}"
"""
SRL = f"""
run_dir = "-"
[model]
path = "-"
[stages.srl]
kind = "srl"
[stages.srl.data]
train = "-"
[stages.srl.prompt]
context_in = "assistant"
[stages.srl.prompt.texts]
{TEXTS}
[stages.srl.sampling]
group_size = 4
groups_per_update = 2
max_completion_tokens = 32
engine_batch_size = 8
max_draws = 4
[stages.srl.optimizer]
learning_rate = 5e-4
[stages.srl.schedule]
validate_every = 2
num_validation_examples = 2
save_every = 1
"""
PROBLEM = {
    "problem": "What is 6 * 7?",
    "solution": "1. **Multiply** 6*7=42.\n\n2. **End** It is \\boxed{42}.",
    "answer": "42",
}


def write_own_task(folder: Path) -> TaskConfig:
    """A base of random weights, which breaks every format, and two problems."""
    model, tokenizer = tiny_policy()
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    for name, problems in (("train", "ab"), ("validation", "c"), ("test", "de")):
        rows = [PROBLEM | {"id": key, "problem": f"{key}: {PROBLEM['problem']}"} for key in problems]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "srl.toml").write_text(SRL)
    return TaskConfig(
        name="own",
        base=str(folder / "base"),
        train=str(folder / "train.jsonl"),
        validation=str(folder / "validation.jsonl"),
        problems=str(folder / "test.jsonl"),
        test_steps=str(folder / "test.jsonl"),
        max_solution_tokens=8,
        max_step_tokens=8,
        max_steps=2,
        num_samples=2,
    )


@pytest.fixture
def own_study(tmp_path):
    return make_study(
        tmp_path / "out",
        task=write_own_task(tmp_path),
        methods={"srl": MethodConfig(recipe="srl.toml")},
        budget=BudgetConfig(rollouts=16),
        seeds=(0,),
    )


def test_a_run_without_signal_is_measured_as_it_stands(tmp_path, own_study):
    key = RunKey(method="srl", seed=0)
    row = run_one(own_study, tmp_path / "study.toml", key)
    assert row.status == "no_signal"
    assert "min_reward_std" in row.message
    assert row.model == own_study.task.base  # nothing was ever learnt
    assert set(row.outcomes) == {"steps/greedy", "whole/greedy", "whole/avg@2", "stepwise/greedy", "stepwise/avg@2"}
    assert all(len(samples) == 2 for samples in row.outcomes["whole/avg@2"].values())
    write_row(own_study.folder, row)
    assert read_rows(own_study.folder)[key] == row
    # Stopped while it was measured: it is measured again, and not trained.
    again = run_one(own_study, tmp_path / "study.toml", key)
    assert (again.status, again.message, again.outcomes) == (row.status, row.message, row.outcomes)


def test_the_base_is_measured_and_not_trained(tmp_path, own_study):
    row = run_one(own_study, tmp_path / "study.toml", RunKey(method="base"))
    assert (row.status, row.spent.rollouts, row.curve) == ("done", 0, [])
    assert not (tmp_path / "out" / "runs" / "base").exists()


def test_two_processes_cannot_have_the_same_run(own_study):
    key = RunKey(method="srl", seed=0)
    refused = pytest.raises(RunDirError, match="srl-0 is in the hands of another process")
    with _lock(own_study, key), refused, _lock(own_study, key):
        pass
    with _lock(own_study, key):
        pass


@pytest.mark.slow
def test_a_run_that_fails_leaves_a_row_that_says_why_and_is_tried_again(tmp_path, own_study):
    """The study file is missing, so the process of the run ends with an error."""
    job = Job(study=own_study, key=RunKey(method="srl", seed=0))
    ended: list[tuple[str, str]] = []
    progress = Progress(ended=lambda job, status, message, seconds: ended.append((status, message)))
    run_jobs([job], tmp_path / "none.toml", lanes=1, progress=progress)
    row = read_rows(own_study.folder)[job.key]
    assert (row.status, row.outcomes) == ("failed", {})
    assert "there is no study file" in row.message
    assert ended == [("failed", row.message)]
    assert missing_jobs(own_study, run_keys(own_study))[1] == job


STUDY = """
title = "A tiny study"
folder = "{folder}"
seeds = [0]
[task]
name = "chains"
num_train = 6
num_validation = 2
num_test = 3
num_samples = 0
num_validation_problems = 1
[budget]
rollouts = 32
tolerance = 0.9
[methods.srl]
recipe = "srl.toml"
set = {{ "stages.srl.optimizer.learning_rate" = 1e-4 }}
"""


def study_file(folder: Path, name: str) -> Path:
    (folder / "srl.toml").write_text(SRL)
    path = folder / f"{name}.toml"
    path.write_text(STUDY.format(folder=folder / name))
    return path


def study(path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "srl.cli", "study", str(path), *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=800)


def comparable(folder: Path) -> dict[str, object]:
    """What must not depend on a kill: all but times, paths and the environment."""
    rows = {}
    for key, row in read_rows(folder).items():
        curve = [(point.rollouts, point.tokens, point.whole, point.stepwise) for point in row.curve]
        spent = (row.spent.rollouts, row.spent.sampled_tokens)
        rows[key.name] = (row.status, spent, curve, row.outcomes, row.settings)
    return rows


def wait_until(condition, process, seconds=600):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the study ended before it could be killed"
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_study_that_is_killed_and_started_again_has_the_same_rows(tmp_path, capsys):
    whole, killed = study_file(tmp_path, "whole"), study_file(tmp_path, "killed")
    result = study(whole)
    assert result.returncode == 0, result.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "srl.cli", "study", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    metrics = tmp_path / "killed" / "runs" / "srl-0" / "metrics.jsonl"
    try:
        wait_until(lambda: metrics.exists() and metrics.read_text().count("loss/policy") >= 2, process)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert "srl-0" not in comparable(tmp_path / "killed")
    # The run stops by itself between two updates when the study is gone; until then its lock is taken.
    for _ in range(20):
        result = study(killed)
        if (
            "srl-0" in comparable(tmp_path / "killed")
            and read_rows(tmp_path / "killed")[RunKey(method="srl")].status == "done"
        ):
            break
        time.sleep(1)
    assert result.returncode == 0, result.stderr
    assert comparable(tmp_path / "killed") == comparable(tmp_path / "whole")
    for name in ("results.json", "results.md", "report.html", "study.json"):
        assert (tmp_path / "killed" / name).exists()
    _check_what_follows(tmp_path, killed, capsys)


def _check_what_follows(folder: Path, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a finished study does with a second call, its report, and a changed file."""
    before = comparable(folder / "killed")
    study_command(path, dry_run=True)
    shown = capsys.readouterr().out
    assert "0 runs to do" in shown
    assert max(map(len, shown.splitlines())) <= 80
    (folder / "killed" / "report.html").unlink()
    report_command(folder / "killed")
    assert "A tiny study" in (folder / "killed" / "report.html").read_text()
    path.write_text(path.read_text().replace("1e-4", "2e-4"))
    with pytest.raises(ConfigError, match=r"srl-0 was made with another recipe: .*0\.0001 -> 0\.0002"):
        study_command(path)
    study_command(path, again=("srl",), dry_run=True)  # forgets nothing
    assert "1 runs to do" in capsys.readouterr().out
    assert comparable(folder / "killed") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ("grpo",)}, "--only names grpo; the study has srl and base"),
        ({"again": ("grpo",)}, "--again names grpo"),
        ({"seeds": (7,)}, r"--seeds names \[7\]; the study has \[0\]"),
        ({"lanes": 0}, "lanes = 0"),
        ({"table_only": True}, "holds no runs yet"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        study_command(study_file(tmp_path, "s"), **options)


def test_a_method_that_cannot_be_run_is_refused_before_anything_is_run(tmp_path):
    path = study_file(tmp_path, "s")
    path.write_text(path.read_text() + '[methods.bad]\nrecipe = "none.toml"\n')
    with pytest.raises(ConfigError, match=r"methods\.bad: cannot read the recipe"):
        study_command(path)
    assert not (tmp_path / "s" / "rows").exists()


def test_own_data_must_exist(tmp_path, own_study):
    (tmp_path / "test.jsonl").unlink()
    with pytest.raises(DataError, match=r"there is no .*test.jsonl"):
        run_one(own_study, tmp_path / "study.toml", RunKey(method="base"))
