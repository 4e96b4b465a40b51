"""The page of lengths: what it counts, counted again by hand."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from srl.examples import make_step_examples, to_json
from srl.histogram import histogram_lines, quantile
from srl.inspection.command import inspect_command
from srl.inspection.summary import Summarizer, print_summary
from srl.inspection.view import ModelView, PromptChoices, load_tokenizer
from srl.tasks.tiny_model import train_tokenizer
from srl.types import DroppedRow, Source, Step, Trajectory


def log(name, observations, **changes):
    steps = tuple(
        Step(title="", text="ls -la", body="ls -la", thought="Look." if k else "", observation=text)
        for k, text in enumerate(observations)
    )
    fields = {
        "trajectory_id": name, "problem": "It crashes.", "steps": steps, "answer": None, "kind": "agent",
        "source": Source(file="f", row=0), "format": "openhands", "splitter": "turns",
    }  # fmt: skip
    return Trajectory(**(fields | changes))


LOGS = [
    log("a", ["", "x" * 10, "y" * 500], notes={"format_errors": 2}, is_right=True),
    log("b", ["x" * 10, "y" * 20], notes={"format_errors": 1}),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    train_tokenizer(["ls -la"], 300).save_pretrained(folder)
    return str(folder)


def summarize(items, choices=None, tokenizer=None):
    summarizer = Summarizer(ModelView(choices or PromptChoices(), tokenizer))
    for item in items:
        summarizer.add(item)
    return summarizer.summary


def test_lengths_and_groups_of_trajectories():
    dropped = DroppedRow(source=Source(file="f", row=9), line=0, reason="bad_json", detail="")
    summary = summarize([*LOGS, dropped])
    assert (summary.num_trajectories, summary.num_examples) == (2, 5)
    assert summary.dropped == {"bad_json": 1}
    assert summary.num_chars["steps"] == {3: 1, 2: 1}
    assert summary.num_chars["observation"] == {0: 1, 10: 2, 500: 1, 20: 1}
    assert summary.num_chars["target"] == {6: 5}
    assert summary.num_chars["thought"] == {5: 3}
    assert summary.num_chars["problem"] == {11: 2}
    assert summary.num_chars["prompt"].total() == 5
    assert summary.groups["notes"] == {"format_errors": 2}
    assert summary.groups["marked"] == {"right": 1, "neither": 1}
    assert summary.num_tokens == {}


def test_step_examples_count_each_problem_and_each_observation_once():
    whole = summarize(LOGS)
    parts = summarize([example for item in LOGS for example in make_step_examples(item)])
    assert parts.num_trajectories == 2
    for name in ("steps", "problem", "target", "thought", "prompt"):
        assert parts.num_chars[name] == whole.num_chars[name], name
    # What came back to the last action of each log stands in no example.
    assert parts.num_chars["observation"] == whole.num_chars["observation"] - Counter([500, 20])


def test_limits_are_counted_by_what_they_do(model):
    tokenizer = load_tokenizer(model)
    logs = [log("a", ["x" * 10] * 3), log("b", ["word " * 100] * 3), log("c", ["x"] * 3, problem="long " * 500)]
    limits = PromptChoices(max_observation_tokens=60, max_prompt_tokens=1500)
    summary = summarize(logs, limits, tokenizer)
    assert summary.fits == {"shown whole": 4, "shown with cut observations": 2, "too long to be used": 3}
    assert summary.num_tokens["prompt"].total() == 6
    assert max(summary.num_tokens["prompt"]) <= 1500
    assert summary.num_tokens["observation"].total() == 9
    assert set(summary.num_tokens["target"]) == {len(tokenizer("ls -la")["input_ids"])}


def test_the_page_fits_into_80_columns_and_shows_shares(capsys, tmp_path, model):
    path = tmp_path / "logs.jsonl"
    examples = [example for item in LOGS for example in make_step_examples(item)]
    path.write_text("".join(json.dumps(to_json(example)) + "\n" for example in examples) + "[1]\n")
    inspect_command(str(path), summary=True, model=model, max_observation_tokens=60)
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()[1:]) <= 80
    assert "2 trajectories, 5 step examples, 1 rows dropped\n  kind      agent 2\n  dropped   not_an_object 1\n" in out
    assert re.search(r"target, characters +5 +6 +6 +6 +6\n", out)
    assert re.search(r"shown whole +5 +100\.0 %", out)
    assert re.search(r"steps per trajectory\n +2 +1  █+\n +3 +1  █+\n", out)


def test_targets_longer_than_a_completion_are_counted(capsys, model):
    items = [log("a", ["x"] * 3), log("b", ["x"] * 2)]
    long = replace(items[1].steps[0], text="ls -la " * 50)
    items[1] = replace(items[1], steps=(long, items[1].steps[1]))
    view = ModelView(PromptChoices(max_completion_tokens=30), load_tokenizer(model))
    print_summary("f", iter(items), view, Console())
    assert re.search(r"target longer than 30 tokens +1 +20\.0 %", capsys.readouterr().out)


def test_a_source_without_examples_still_says_what_was_dropped(capsys, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text("[1]\n[2]\n")
    inspect_command(str(path), summary=True)
    assert "0 trajectories, 0 step examples, 2 rows dropped" in capsys.readouterr().out


@given(st.lists(st.integers(0, 10**8 - 1), min_size=1, max_size=200))
def test_every_number_is_in_one_bin_and_lines_are_short(values):
    lines = histogram_lines(Counter(values))
    assert sum(int(line[25:35].replace(",", "")) for line in lines) == len(values)
    assert max(map(len, lines)) <= 80
    for line in lines:
        low, _, high = line[:24].replace(",", "").partition(" to ")
        inside = sum(int(low) <= value <= int(high or low) for value in values)
        assert inside == int(line[25:35].replace(",", ""))


@given(st.lists(st.integers(0, 50), min_size=1), st.sampled_from([0.05, 0.5, 0.95, 1]))
def test_quantiles(values, share):
    found = quantile(Counter(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_real_logs_by_summary(capsys, shared_data):
    inspect_command(str(shared_data("swe/miniswe/astropy__astropy-12907.traj.json")), summary=True)
    assert "1 trajectories, 20 step examples" in capsys.readouterr().out
