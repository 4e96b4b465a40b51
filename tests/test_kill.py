"""A training process killed for real (SIGKILL, no chance to clean up) and resumed by the command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from srl.tasks import CHAINS
from srl.tasks.chains import make_problems
from srl.tasks.task import write_trajectories

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.toml"
SMALL = {
    "sampling.groups-per-update": 2, "sampling.group-size": 4, "sampling.max-draws": 8, "schedule.num-updates": 5,
    "schedule.validate-every": 2, "schedule.save-every": 1, "schedule.num-validation-examples": 4,
}  # fmt: skip


def command(run_dir, data, *flags):
    arguments = ["--run-dir", run_dir, "--model.path", CHAINS.base_folder, *flags]
    for stage in ("srl", "rlvr"):
        arguments += [f"--stages.{stage}.data.train", data / "train.jsonl"]
        arguments += [f"--stages.{stage}.data.validation", data / "validation.jsonl"]
        for name, value in SMALL.items():
            arguments += [f"--stages.{stage}.{name}", 1 if stage == "rlvr" and "num-updates" in name else value]
    return [sys.executable, "-m", "srl.cli", "train", str(RECIPE), *map(str, arguments)]


def updates_in(run_dir):
    path = run_dir / "metrics.jsonl"
    return path.read_text().count("loss/policy") if path.exists() else 0


def run(*arguments):
    result = subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=200)
    assert result.returncode == 0, result.stderr


def without_times(run_dir):
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]


@pytest.mark.slow
def test_killed_for_real_and_resumed_equals_never_killed(tmp_path):
    write_trajectories(tmp_path / "train.jsonl", make_problems("train", 8, 0))
    write_trajectories(tmp_path / "validation.jsonl", make_problems("validation", 2, 0))
    run(tmp_path / "whole", tmp_path)
    process = subprocess.Popen(
        command(tmp_path / "killed", tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while updates_in(tmp_path / "killed") < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "killed/checkpoints/srl/final.json").exists(), "the run ended before it could be killed"
    run(tmp_path / "killed", tmp_path, "--resume")
    for stage, name in (("srl", "update-00005"), ("rlvr", "update-00001")):
        one, other = (
            load_file(tmp_path / kind / "checkpoints" / stage / name / "model.safetensors")
            for kind in ("whole", "killed")
        )
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert without_times(tmp_path / "killed") == without_times(tmp_path / "whole")
