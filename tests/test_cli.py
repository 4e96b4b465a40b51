"""The command as a user meets it: help, typos, dry runs, training by command and overrides."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import tiny_policy

from srl.tasks.chains import make_problems
from srl.tasks.task import write_trajectories
from srl.tasks.tiny_model import save

ROOT = Path(__file__).parents[1]


def srl(*arguments, cwd=ROOT, columns="80"):
    """Run the real command in a process of its own; (exit code, stdout, stderr)."""
    result = subprocess.run(
        [sys.executable, "-m", "srl.cli", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "COLUMNS": columns},
    )  # fmt: skip
    return result.returncode, result.stdout, result.stderr


def flat(text):
    return " ".join(text.split())


@pytest.mark.parametrize("command", ["decompose", "inspect", "overlap", "rewrite", "evaluate", "report", "quickstart"])
def test_every_command_has_help(command):
    code, out, _ = srl(command, "--help")
    assert code == 0
    assert f"usage: srl {command}" in out


def test_a_typo_is_told_with_what_is_allowed():
    code, _, err = srl("trian")
    assert code == 2
    assert "unknown command 'trian'" in err
    assert "quickstart" in err
    code, _, err = srl("train")
    assert code == 2
    assert "needs a recipe first" in flat(err)
    code, _, err = srl("train", "recipes/none.toml")
    assert code == 2
    assert "cannot read the recipe" in flat(err)
    code, _, err = srl("train", "recipes/quickstart.toml", "--stages.srl.sampling.min-reward-sdt", "0.1")
    assert code == 2
    assert "min-reward-std" in err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_reader_that_has_seen_enough_ends_the_command_in_silence(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"problem": "P", "solution": "1. **A** x\\n2. **B** y"}\n')
    command = [sys.executable, "-m", "srl.cli", "inspect", str(tmp_path / "x.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait(timeout=60)) == (b"", 141)


def test_names_of_files_cannot_act_on_the_terminal(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "\x1b[31m[bold]:smile:.jsonl").write_text("5\n")
    code, _, err = srl("decompose", tmp_path / "in", "-o", tmp_path / "x.jsonl", "--strict", columns="300")
    assert code == 2
    assert err.startswith(f"error: {tmp_path}/in/\\x1b[31m[bold]:smile:.jsonl, line 1: not_an_object")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
def test_an_output_that_cannot_show_a_character_shows_its_escape(tmp_path, monkeypatch, encoding):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    code, _, err = srl("inspect", tmp_path / os.fsdecode(b"caf\xe9.jsonl"), columns="300")
    assert code == 2
    assert "caf\\udce9.jsonl: no such file" in err
    (tmp_path / "x.jsonl").write_text('{"problem": "\u8868", "solution": "1. **A** x\\n2. **B** y"}\n', "utf-8")
    code, out, err = srl("inspect", tmp_path / "x.jsonl")
    assert (code, err) == (0, "")
    assert "target" in out


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Expert trajectories and a policy of random weights."""
    folder = tmp_path_factory.mktemp("files")
    write_trajectories(folder / "train.jsonl", make_problems("train", 6, 0))
    write_trajectories(folder / "validation.jsonl", make_problems("validation", 2, 0))
    model, tokenizer = tiny_policy()
    save(model, tokenizer, folder / "model")
    return folder


def overrides(files, recipe):
    stages = ["srl", "rlvr"] if "rlvr" in recipe or recipe == "quickstart" else ["srl"]
    arguments = ["--model.path", files / "model"]
    for stage in stages:
        arguments += [f"--stages.{stage}.data.train", files / "train.jsonl"]
        if recipe == "quickstart":
            arguments += [f"--stages.{stage}.data.validation", files / "validation.jsonl"]
        else:
            arguments += [f"--stages.{stage}.data.num-validation-trajectories", 2]
        arguments += [f"--stages.{stage}.sampling.max-completion-tokens", 20]
        arguments += [
            f"--stages.{stage}.prompt.texts.step-system",
            "x",
            f"--stages.{stage}.prompt.texts.solve-system",
            "x",
        ]
    return arguments


@pytest.mark.parametrize("recipe", ["amc-aime-tiny", "math-7b-srl-rlvr", "quickstart"])
def test_dry_run(files, recipe, tmp_path):
    """The resolved run, the number of examples, the token budget; nothing is written. tests/test_recipes.py has all."""
    path = ROOT / "recipes" / f"{recipe}.toml"
    code, out, err = srl("train", path, "--dry-run", "--run-dir", tmp_path / "run", *overrides(files, recipe))
    assert code == 0, err
    assert json.loads(out[: out.rindex("}") + 1])["seed"] == 0
    assert "tokens" in out
    assert "examples" in out
    assert not (tmp_path / "run").exists()
    assert max(map(len, out[out.rindex("}") :].splitlines())) <= 80


def test_dry_run_without_the_model_still_counts_the_examples(files, tmp_path):
    arguments = [*overrides(files, "math-7b-srl"), "--model.path", tmp_path / "nowhere"]
    code, out, _ = srl("train", ROOT / "recipes/math-7b-srl.toml", "--dry-run", *arguments)
    assert code == 0
    assert "not at hand" in flat(out)


def test_a_policy_that_never_follows_the_format_is_told_why_nothing_can_be_learned(files, tmp_path):
    """Random weights: every completion gets the penalty, so the command ends with the histogram and exit code 2."""
    recipe = ROOT / "recipes/math-7b-srl.toml"
    small = ["--stages.srl.sampling.groups-per-update", 2, "--stages.srl.sampling.max-draws", 2]
    arguments = [*overrides(files, recipe.stem), *small, "--run-dir", tmp_path / "run", "--model.precision", "float32"]
    code, out, err = srl("train", recipe, *arguments)
    assert code == 2, out + err
    assert "none has a reward std above" in flat(err)
    assert "Traceback" not in err
    assert (tmp_path / "run" / "config.json").exists()
    code, _, err = srl("train", recipe, *arguments)
    assert code == 2
    assert "exists already" in flat(err)


def test_the_commands_of_the_readme_take_their_arguments_as_they_stand_there(files, tmp_path):
    steps = tmp_path / "steps.jsonl"
    code, out, err = srl("decompose", files / "train.jsonl", "-o", steps, "--report", tmp_path / "drops.jsonl")
    assert code == 0, err
    assert "6 (100" in out
    code, _, err = srl("report", tmp_path)
    assert code == 2
    assert "not a run folder" in flat(err)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"stage": "srl", "update": 1, "reward/mean": 0.5}\n')
    code, out, err = srl("report", tmp_path / "run")
    assert code == 0, err
    assert (tmp_path / "run" / "report.html").exists()
    code, out, err = srl(
        "evaluate", files / "validation.jsonl", "--model", files / "model", "--output", tmp_path / "scores",
        "--num-samples", 2, "--max-completion-tokens", 4, "--max-steps", 1,
        "--prompts-from", ROOT / "recipes" / "quickstart.toml",
    )  # fmt: skip
    assert code == 0, err
    assert "whole/greedy" in out
    assert "Loading weights" not in out + err
