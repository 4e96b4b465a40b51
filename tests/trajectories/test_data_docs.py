"""docs/data.md says what the code does."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from srl.advantage import compute_advantages
from srl.engines.scripted import ScriptedEngine
from srl.evaluation.solve import SolveRecord
from srl.examples import from_json, load_step_examples, make_step_examples, problems_of, to_json
from srl.parsing import parse_step
from srl.rewards.similarity import similarity_reward
from srl.rollouts import Scoring, roll_out
from srl.run_dir import RunDir
from srl.trajectories import fields as field_names
from srl.trajectories import reasons
from srl.trajectories.reader import read_trajectories
from srl.trajectories.segment import split_steps
from srl.types import ChatPrompt, DroppedRow, Problem, SamplingParams, Score, StepExample, TrainingExample, Trajectory

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS: dict[str, Any] = {
    name: json.loads(text) for name, text in re.findall(r"^```json (\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
}


def as_json(record: Any) -> Any:
    return json.loads(json.dumps(asdict(record)))


@pytest.fixture
def items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Trajectory | DroppedRow]:
    """The documented row, and one that is dropped, read from a file of the documented name."""
    monkeypatch.chdir(tmp_path)
    rows = [BLOCKS["row"], {"problem": "What is 2?", "solution": "Two it is."}]
    Path("experts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(read_trajectories("experts.jsonl"))


@pytest.mark.parametrize("record", [Trajectory, StepExample, Problem, DroppedRow])
def test_every_field_is_shown(record: type) -> None:
    assert list(BLOCKS[record.__name__]) == [field.name for field in fields(record)]


def test_the_examples_are_what_the_row_becomes(items: list[Trajectory | DroppedRow]) -> None:
    trajectory, dropped = items
    assert isinstance(trajectory, Trajectory)
    assert as_json(trajectory) == BLOCKS["Trajectory"]
    assert as_json(dropped) == BLOCKS["DroppedRow"]
    examples = make_step_examples(trajectory)
    assert to_json(examples[1]) == as_json(examples[1]) == BLOCKS["StepExample"]
    assert from_json(BLOCKS["StepExample"]) == examples[1]
    assert as_json(problems_of(examples)[0][0]) == BLOCKS["Problem"]


def test_drop_reasons() -> None:
    (body,) = [
        node.body for node in ast.parse(inspect.getsource(reasons)).body if getattr(node, "name", "") == "DropReason"
    ]
    constants = [node.value.value for node in body if isinstance(getattr(node, "value", None), ast.Constant)]  # type: ignore[attr-defined]
    meanings = dict(zip(constants[1::2], constants[2::2], strict=True))  # after the class's own docstring
    assert list(meanings) == [reason.value for reason in reasons.DropReason]
    section = PAGE.partition("## Drop reasons")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)) == meanings


def test_field_names() -> None:
    for what, names in [
        ("problem", field_names.PROBLEM_FIELDS),
        ("solution", field_names.SOLUTION_FIELDS),
        ("answer", field_names.ANSWER_FIELDS),
        ("id", field_names.ID_FIELDS),
    ]:
        assert f"| {what} | {', '.join(f'`{name}`' for name in names)} |" in PAGE


def test_looks() -> None:
    """Every look of the page is recognised, with the title and body it shows."""
    block = PAGE.partition("in these looks:")[2].split("```")[1].removeprefix("text\n")
    looks = re.split(r"\s{3,}|\n", block.strip())
    assert len(looks) == 10
    for look in looks:
        first, second = split_steps(f"{look}\n\n{look.replace('1', '2')}\n")
        assert (first.title, first.body) == ("Title" * ("Title" in look), "body" * ("body" in look))
        assert second.title == first.title


def test_figures(shared_data: Callable[[str], Path]) -> None:
    examples, dropped = load_step_examples(str(shared_data("math/amc_aime_solutions.jsonl")), include_last_step=True)
    last = sum(example.step_index == example.num_steps - 1 for example in examples)
    assert f"| step examples | {len(examples):,}; {len(examples) - last:,} without the last steps |" in PAGE
    assert f"| parsed into trajectories | {last:,} (94.2 %) |" in PAGE
    assert f"| with a final answer | {len(problems_of(examples)[0]):,} of {last:,} |" in PAGE
    assert f"| dropped: `too_few_steps` | {len(dropped)} (5.8 %) |" in PAGE


@pytest.mark.parametrize("record", [TrainingExample, Score, SolveRecord])
def test_every_field_of_the_later_records_is_shown(record: type) -> None:
    assert list(BLOCKS[record.__name__]) == [field.name for field in fields(record)]


def test_the_rollout_line_is_what_a_run_writes(tmp_path: Path) -> None:
    """The documented rollouts, sampled and scored again, give the documented line."""
    shown = BLOCKS["RolloutGroupLine"]
    prompt = ChatPrompt(
        messages=tuple(shown["prompt"]["messages"]), assistant_prefix=shown["prompt"]["assistant_prefix"]
    )
    example = TrainingExample(example_id=shown["example_id"], prompt=prompt, target=shown["target"])
    assert as_json(example) == BLOCKS["TrainingExample"]
    reward = similarity_reward(autojunk=False, first_argument="action")
    (group,) = roll_out(
        [example],
        ScriptedEngine(lambda _, index: shown["rollouts"][index]["text"]),
        Scoring(parse=parse_step, reward=reward, format_penalty=-1.0),
        group_size=len(shown["rollouts"]),
        sampling=SamplingParams(temperature=1.0, max_completion_tokens=100),
        seed=0,
    )
    RunDir(tmp_path).save_rollouts(shown["stage"], shown["update"], [(group, compute_advantages(group.rewards))])
    assert json.loads(next((tmp_path / "rollouts").iterdir()).read_text("utf-8")) == shown
