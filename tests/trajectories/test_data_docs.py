"""docs/data.md says what the code does."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from srl.advantage import compute_advantages
from srl.completion_rewards import Scoring
from srl.engines.scripted import ScriptedEngine
from srl.evaluation.problems import load_problems
from srl.evaluation.solve import SolveRecord
from srl.example_store import load_examples
from srl.examples import ExampleSettings, from_json, make_step_examples, to_json
from srl.parsing import parse_step
from srl.rewards.similarity import similarity_reward
from srl.rollouts import roll_out
from srl.run_dir import RunDir
from srl.trajectories import fields as field_names
from srl.trajectories import reasons
from srl.trajectories.agents import turns
from srl.trajectories.formats import FORMATS
from srl.trajectories.reader import drop_to_json, read_trajectories
from srl.trajectories.segment import SPLITTERS, split_steps
from srl.types import ChatPrompt, DroppedRow, Problem, SamplingParams, Score, StepExample, TrainingExample, Trajectory

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS: dict[str, Any] = {
    name: json.loads(text) for name, text in re.findall(r"^```json (\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
}


def as_json(record: Any) -> Any:
    value = json.loads(json.dumps(asdict(record)))
    if isinstance(value.get("source"), dict):
        del value["source"]["line"]  # for messages only
    return value


@pytest.fixture
def items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Trajectory | DroppedRow]:
    """The documented row, and one that is dropped, read from a file of the documented name."""
    monkeypatch.chdir(tmp_path)
    rows = [BLOCKS["row"], {"problem": "What is 2?", "solution": "Two it is."}]
    Path("experts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(read_trajectories("experts.jsonl"))


@pytest.mark.parametrize("record", [Trajectory, Problem, DroppedRow])
def test_every_field_is_shown(record: type) -> None:
    assert list(BLOCKS[record.__name__]) == [field.name for field in fields(record)]


def test_the_examples_are_what_the_row_becomes(items: list[Trajectory | DroppedRow]) -> None:
    trajectory, dropped = items
    assert isinstance(trajectory, Trajectory)
    assert as_json(trajectory) == BLOCKS["Trajectory"]
    assert isinstance(dropped, DroppedRow)
    assert drop_to_json(dropped) == BLOCKS["DroppedRow"]
    examples = make_step_examples(trajectory)
    assert to_json(examples[1]) == BLOCKS["StepExample"]
    assert from_json(BLOCKS["StepExample"]) == examples[1]
    Path("problems.jsonl").write_text(json.dumps(BLOCKS["row"]) + "\n")
    assert [as_json(problem) for problem in load_problems("problems.jsonl")] == [BLOCKS["Problem"]]


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


def test_every_stored_field_of_an_example_is_shown() -> None:
    not_always = {"kind", "observations", "target_thought", "reasoning"}
    names = [field.name for field in fields(StepExample) if field.name not in not_always]
    assert list(BLOCKS["StepExample"]) == names
    assert all(f"`{name}`" in PAGE for name in not_always)


def test_formats_splitters_and_notes() -> None:
    def first_column(heading: str) -> list[str]:
        table = PAGE.partition(heading)[2].partition("\n\n")[0]
        return re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)

    assert sorted(first_column("| format | what it is | action of a step |")) == sorted(FORMATS)
    assert first_column("| splitter | cuts at |") == list(SPLITTERS)
    notes = set(re.findall(r"``(\w+)``[.,]", inspect.getdoc(turns) or ""))
    assert set(first_column("| note | what was decided |")) == notes


def test_figures(shared_data: Callable[[str], Path]) -> None:
    store = load_examples(
        str(shared_data("math/amc_aime_solutions.jsonl")), ExampleSettings(include_last_step=True)
    ).store
    read = len(store.trajectories)
    assert f"| parsed into trajectories | {read:,} of 2,035 |" in PAGE
    assert f"| with a final answer | {sum(item.has_answer for item in store.trajectories):,} of {read:,} |" in PAGE
    assert f"| step examples | {len(store):,}; {len(store) - read:,} without the last steps |" in PAGE


@pytest.mark.slow
def test_coverage_page(shared_data: Callable[[str], Path]) -> None:
    """One run over every shared file; the page is made again and compared."""
    script = Path(__file__).parents[2] / "docs" / "make_coverage.py"
    spec = importlib.util.spec_from_file_location("make_coverage", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text("utf-8") == module.make_page(shared_data(""), 1)


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
