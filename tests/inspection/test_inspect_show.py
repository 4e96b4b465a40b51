"""What stands in the terminal: the very prompt of training, the true counts, and nothing that a terminal obeys."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from srl.engines.transformers import render
from srl.errors import ConfigError, DataError
from srl.examples import make_step_examples, to_json
from srl.inspection.command import inspect_command
from srl.inspection.view import ModelView, PromptChoices, choices_of_stage
from srl.inspection.visible import escape_controls, in_one_line, visible
from srl.prompts import step_prompt
from srl.recipe import load_recipe
from srl.tasks.tiny_model import train_tokenizer
from srl.types import Source, Step, Trajectory

RECIPE = """
run_dir = "runs/x"
[model]
path = "none"
[stages.agents]
kind = "srl"
[stages.agents.data]
train = "logs"
[stages.agents.prompt]
context_turns = 1
max_observation_tokens = 80
max_prompt_tokens = 900
[stages.agents.prompt.texts]
agent_system = "Act."
[stages.agents.sampling]
max_completion_tokens = 64
[stages.answers]
kind = "rlvr"
[stages.answers.data]
train = "problems"
"""


def agent_log(num_steps=6):
    steps = tuple(
        Step(title="", text=f"cat part{k}.txt", body=f"cat part{k}.txt", thought=f"Look at {k}.", observation="x " * 90)
        for k in range(num_steps)
    )
    return Trajectory(
        trajectory_id="log-1", problem="It crashes.", steps=steps, answer=None, source=Source(file="f", row=0),
        kind="agent", format="openhands", splitter="turns",
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    train_tokenizer(["cat part.txt", "It crashes. Look at x x x x"], 300).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def logs(tmp_path):
    path = tmp_path / "logs.jsonl"
    path.write_text("".join(json.dumps(to_json(example)) + "\n" for example in make_step_examples(agent_log())))
    return str(path)


@pytest.fixture
def experts(tmp_path):
    path = tmp_path / "experts.jsonl"
    row = {"id": "s", "problem": "2+3?", "solution": "1. **Add** 2 + 3\n\n2. **Get** \\boxed{5}"}
    path.write_text(json.dumps(row) + "\n")
    return str(path)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def shown(capsys, *arguments, **options):
    inspect_command(*arguments, **options)
    return capsys.readouterr().out


def test_a_solution_without_a_model_is_shown_as_messages(capsys, experts):
    out = shown(capsys, experts, title_in_prompt=True, context_in="assistant")
    assert "solution, read as rows, 2 steps" in out
    assert "answer      5\n" in out
    assert "\n    0      18  1. **Add** 2 + 3\n>   1      20  2. **Get** \\boxed{5}\n" in out
    assert re.search(r"── user, prompt of step 1 ─+\n2\+3\?\n", out)
    assert re.search(r"── the assistant's turn begins with ─+\n1\. \*\*Add\*\* 2 \+ 3\n\n2\. \*\*Get\*\*\n", out)
    assert re.search(r"── target ─+\n\\boxed\{5\}\n", out)
    assert "--model" in out


def test_an_agents_example_with_a_model_is_the_rendered_prompt_of_training(capsys, logs, model):
    out = shown(capsys, logs, index=4, model=model)
    example = make_step_examples(agent_log())[4]
    tokenizer = AutoTokenizer.from_pretrained(model)
    rendered = render(step_prompt(example, context_in="user", title_in_prompt=False), tokenizer)
    assert "<|im_start|>assistant" in rendered
    assert rendered in out
    num_tokens = len(tokenizer(rendered, add_special_tokens=False)["input_ids"])
    assert f"── prompt of step 4, {num_tokens:,} tokens ─" in out
    assert re.search(rf"whole prompt +{len(rendered):,} +{num_tokens:,}", out)
    assert re.search(r"── target ─+\ncat part4\.txt\n── the expert's thought .*\nLook at 4\.\n", out)


def test_what_is_cut_is_said(capsys, logs, model):
    out = shown(capsys, logs, index=4, model=model, max_observation_tokens=80, context_turns=1)
    assert "characters left out ..." in out
    assert re.search(r"observation 4 +\d+ +(7\d|80)  cut from 180 characters", out)
    assert "action 3" not in out
    assert "Earlier rounds that are not shown: 3." in out


def test_a_prompt_that_cannot_be_made_to_fit_says_so(capsys, logs, model):
    out = shown(capsys, logs, index=4, model=model, max_prompt_tokens=100)
    assert "too long, this example cannot be used" in out
    assert "more than 100 tokens" in out


def test_rounds_left_out_are_said(capsys, logs, model):
    view = ModelView(PromptChoices(context_turns=1))
    assert view.shown(make_step_examples(agent_log())[4]).context == ("cat part3.txt",)
    limit = 60 + tokens_of_prompt(capsys, logs, model, context_turns=1)
    out = shown(capsys, logs, index=4, model=model, max_prompt_tokens=limit)
    assert "1 more left out, so that the prompt fits" in out
    assert re.search(r"\naction 4 +13 ", out)
    assert "\naction 3 " not in out


def tokens_of_prompt(capsys, logs, model, **options):
    out = shown(capsys, logs, index=4, model=model, **options)
    return int(re.search(r"prompt of step 4, ([\d,]+) tokens", out)[1].replace(",", ""))


def test_a_recipes_stage_gives_all_choices(capsys, logs, model, recipe):
    choices = choices_of_stage(recipe, None, None)
    prompt = load_recipe(recipe).stages["agents"].prompt
    names = ("context_in", "title_in_prompt", "context_turns", "max_observation_tokens", "max_prompt_tokens", "texts")
    assert [getattr(choices, name) for name in names] == [getattr(prompt, name) for name in names]
    assert choices.max_completion_tokens == 64
    out = shown(capsys, logs, index=4, model=model, recipe=recipe, stage="agents")
    assert "<|im_start|>system\nAct.<|im_end|>" in out
    assert "action 4" in out
    assert "action 3" not in out


def test_without_a_longest_prompt_the_window_of_the_model_is_it(tmp_path, model, recipe):
    folder = tmp_path / "windowed"
    shutil.copytree(model, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "max_position_embeddings": 512}))
    recipe.write_text(RECIPE.replace("max_prompt_tokens = 900", ""))
    assert choices_of_stage(recipe, None, str(folder)).max_prompt_tokens == 512 - 64
    assert choices_of_stage(recipe, None, model).max_prompt_tokens is None
    recipe.write_text(RECIPE.replace("= 900", "= 100"))
    assert choices_of_stage(recipe, None, str(folder)).max_prompt_tokens == 100


def test_options_that_have_no_effect_are_errors(logs, recipe):
    cases = [
        ({"recipe": recipe, "context_turns": 1}, "leave --context-turns out"),
        ({"stage": "agents"}, "give --recipe too"),
        ({"recipe": recipe, "stage": "answers"}, "a stage that asks for solutions.* are: agents"),
        ({"recipe": recipe, "stage": "nope"}, "no stage 'nope'"),
        ({"max_prompt_tokens": 9}, "--max-prompt-tokens counts tokens; name the model"),
        ({"summary": True, "index": 0}, "no effect with --summary"),
        ({"format": "nope"}, "'nope' is unknown"),
        ({"context_turns": -1}, "context_turns is -1"),
        ({"model": "/no/model"}, "cannot load a tokenizer"),
    ]
    for options, message in cases:
        with pytest.raises((ConfigError, DataError), match=message):
            inspect_command(logs, **options)


def test_a_step_that_is_not_there(experts):
    with pytest.raises(ConfigError, match="has steps 0 to 1"):
        inspect_command(experts, step=2)


def test_an_agent_cannot_be_asked_in_the_assistants_turn(logs):
    with pytest.raises(DataError, match="context_in"):
        inspect_command(logs, context_in="assistant")


def test_nothing_of_the_data_reaches_the_terminal_as_a_command(capsys, tmp_path, model):
    hostile = "\x1b[31m[bold]x[/bold] :smile: \u202e\x9b2J\x07 [/]"
    log = agent_log()
    log = replace(log, problem=hostile, steps=tuple(replace(step, observation=hostile) for step in log.steps))
    path = tmp_path / "[red]logs.jsonl"
    path.write_text("".join(json.dumps(to_json(example)) + "\n" for example in make_step_examples(log)))
    for options in ({"model": model}, {}):
        out = shown(capsys, str(path), index=3, **options)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", out)
        assert out.count(r"\x1b[31m[bold]x[/bold] :smile: \u202e\x9b2J\x07 [/]") == 3


@given(st.text(st.characters()))
def test_escaping_leaves_no_control_character_and_nothing_else_changes(text):
    escaped = escape_controls(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", escaped)
    if not re.search(r"[^\x20-\x7e\n\t]", text):
        assert escaped == text
    assert visible(text).plain == escaped
    assert visible(text, ["<|im_start|>", "a"]).plain == escaped
    assert in_one_line(text, 20).cell_len <= 20


def test_special_tokens_are_set_apart_by_style():
    text = visible("<|im_start|>user", ["<|im_start|>", "<|im"])
    assert [(span.start, span.end) for span in text.spans] == [(0, 12)]


def test_a_reader_that_stops_reading_gets_no_traceback(experts, tmp_path):
    long = tmp_path / "long.jsonl"
    long.write_text(json.dumps({"problem": "P " * 200_000, "solution": "1. **A** x\n\n2. **B** y"}) + "\n")
    code = f"from srl.inspection.command import inspect_command; inspect_command({str(long)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("trajectory")
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=60)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("math/amc_aime_solutions.jsonl", "solution, read as rows"),
        ("math/gsm8k_train.jsonl", "solution, read as gsm8k"),
        ("swe/miniswe/astropy__astropy-12907.traj.json", "agent, read as mini-swe-agent, 20 steps by turns"),
        ("swe/openhands/multi_swe_bench_output.jsonl", "agent, read as openhands"),
    ],
)
def test_real_files(capsys, shared_data, model, file, said):
    out = shown(capsys, str(shared_data(file)), model=model, max_observation_tokens=100)
    assert said in out
    assert "<|im_start|>assistant" in out
    longest = max(len(line) for line in out.split("── prompt of step")[0].splitlines() if "source" not in line)
    assert longest <= 80
