"""``srl evaluate`` from end to end with a real, untrained model on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tyro

from srl.errors import ConfigError, RunDirError
from srl.evaluation.command import evaluate_command, read_prompts
from srl.prompts import DEFAULT_TEXTS
from srl.recipe import config_to_json, load_recipe
from srl.tasks.tiny_model import new_model, train_tokenizer


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(["how much is six times seven"], 300)
    model = new_model(tokenizer, hidden_size=32, num_layers=2, num_heads=2, max_positions=2048, seed=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def call(*arguments: object) -> None:
    tyro.cli(evaluate_command, args=[str(argument) for argument in arguments])


def test_the_command_writes_all_files_and_continues(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps({"question": f"{n} + {n}?", "answer": 2 * n}) + "\n" for n in range(3)))
    output = tmp_path / "scores"
    arguments = (problems, "--model", model_folder, "--output", output, "--num-samples", 2,
                 "--max-completion-tokens", 8, "--max-steps", 2)  # fmt: skip
    call(*arguments)
    assert "stepwise/pass@2" in capsys.readouterr().out
    samples = (output / "samples.jsonl").read_bytes()
    assert len(samples.splitlines()) == 18
    saved = json.loads((output / "scores.json").read_text())
    assert {score["value"] for score in saved["scores"]} == {0.0}
    assert saved["settings"]["limits.max_prompt_tokens"] == 2048 - 8
    (output / "samples.jsonl").write_bytes(samples[: len(samples) // 2])
    call(*arguments)
    assert (output / "samples.jsonl").read_bytes() == samples
    with pytest.raises(RunDirError, match="max_completion_tokens was 8 and is 9"):
        call(*arguments, "--max-completion-tokens", 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--num-samples", 2, "--temperature", 0), "all the same"),
        (("--max-steps", 0), "at least 1"),
        (("--modes", "whole", "whole"), "each once"),
        (("--modes", "stepwise", "--unmarked", "last_number"), "no effect without the mode whole"),
    ],
)
def test_options_that_cannot_work_are_refused_before_the_model_is_loaded(
    options: tuple[object, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        call("missing.jsonl", "--model", "missing/model", "--output", tmp_path, *options)


def test_prompts_come_from_a_recipe_or_a_run(tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "quickstart.toml"
    context_in, texts = read_prompts(recipe, "user")
    assert (context_in, texts.step_system, texts.solve_system) == ("assistant", "next", "solve")
    (tmp_path / "config.json").write_text(config_to_json(load_recipe(recipe)))
    assert read_prompts(tmp_path / "config.json", "user") == (context_in, texts)
    assert read_prompts(None, "user") == ("user", DEFAULT_TEXTS)
