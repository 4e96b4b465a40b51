from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl.trajectories.formats import format_of
from srl.trajectories.reader import parse_rows, read_trajectories
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Source, Trajectory

REASONING = "1. **Halve** \\(\\frac{4}{2} \\neq 1\\)\n\n2. **Conclude** it is \\(2\\)"
PROMPT = "## Question: \n\nWhat is 4/2?\n\n## Choices: \n\n- (A) 1\n- (B) 2\n\n## Instruction \n\nAnswer in JSON."
META = {"session_id": 0, "id": "z", "chat_history": [PROMPT], "generator": "g", "model_input": "n/a"}
ROW = META | {"problem": "What is 4/2?", "answer": "2"}


def written(reasoning: str, answer: str = "2") -> str:
    """As a model writes it: only line breaks are escaped."""
    shown = reasoning.replace("\n", "\\n")
    return f'```json\n{{\n    "reasoning": "{shown}",\n    "answer": "{answer}"\n}}\n```'


def read(value: dict[str, Any], **options: Any) -> list[Trajectory | DroppedRow]:
    row = Row(value=value, source=Source(file="experts.jsonl", row=4), line=5)
    return list(parse_rows([row], ReadSettings(**options)))


@pytest.mark.parametrize(
    "output",
    [
        written(REASONING),
        json.dumps({"reasoning": REASONING, "answer": "2"}),
        json.dumps({"reasoning": REASONING, "answer": 2}),
        json.dumps({"reasoning": REASONING, "answer": True}),
        f'{{"reasoning": "{REASONING}", "answer": "2"}}',
        f"Let me solve this.\n\n{written(REASONING)}",
        f"<think>Hm.</think>\n{written(REASONING)}",
        '{"reasoning": "___", "answer": "___"}\n' + written(REASONING),
        written("A first try.", "1") + "\n\nWait, again:\n\n" + written(REASONING),
        written(REASONING).partition("\n}")[0],
        REASONING,
    ],
)
def test_outputs(output: str) -> None:
    value: dict[str, Any] = ROW | {"output": [output]}
    assert format_of(value) == "zeroeval"
    (item,) = read(value)
    assert isinstance(item, Trajectory)
    assert item.solution == REASONING
    assert [step.title for step in item.steps] == ["Halve", "Conclude"]
    assert (item.trajectory_id, item.problem, item.answer) == ("z", "What is 4/2?", "2")
    assert (item.format, item.is_right, item.reasoning) == ("zeroeval", None, "Hm." if "Hm." in output else "")


def test_the_reference_is_the_answer() -> None:
    output = [written(REASONING, "3")]
    assert [item.answer for item in read(ROW | {"output": output}) if isinstance(item, Trajectory)] == ["2"]
    no_reference = ROW | {"output": output, "answer": None}
    assert [item.answer for item in read(no_reference) if isinstance(item, Trajectory)] == ["3"]


def test_tables_of_other_tasks() -> None:
    value: dict[str, Any] = META | {"output": [json.dumps({"reasoning": REASONING, "solution": {"House 1": {}}})]}
    (puzzle,) = read(value | {"puzzle": "Who lives where?", "chat_history": ["Solve it."]})
    (gsm,) = read(ROW | {"output": [written(REASONING)], "answer": "# 2"})
    assert isinstance(puzzle, Trajectory)
    assert isinstance(gsm, Trajectory)
    assert (puzzle.problem, puzzle.solution, puzzle.answer) == ("Who lives where?", REASONING, None)
    assert gsm.answer == "2"


@pytest.mark.parametrize(
    ("output", "reason", "detail"),
    [
        ("", "empty_field", "output is empty"),
        (" \n", "empty_field", "output is empty"),
        ('{"answer": "2"}', "empty_field", "no solution: the object in output has no reasoning"),
        ('{"reasoning": " ", "answer": "2"}', "empty_field", "no solution: the object in output has no reasoning"),
        ('{"reasoning": ["x"], "answer": "2"}', "empty_field", "no solution: the object in output has no reasoning"),
        (
            '{"reasoning": "1. **A** x\\n\\n2. **B** y',
            "unfinished",
            "no solution: output is cut off before its answer",
        ),
        ("<think>Hm", "unfinished", "no solution: the trace is cut off inside <think>"),
        (written("It is 2."), "too_few_steps", "8 characters, and no place to cut them in two"),
        (written(REASONING + "\\u0000"), "nul_character", None),
        (written(REASONING + "\\ud800"), "lone_surrogate", None),
    ],
)
def test_drops(output: str, reason: str, detail: str | None) -> None:
    (item,) = read(ROW | {"output": [output]})
    assert isinstance(item, DroppedRow)
    assert (item.reason, item.source.row, item.line) == (reason, 4, 5)
    assert detail is None or item.detail == detail


def test_several_outputs() -> None:
    items = read(ROW | {"output": [written(REASONING), "", written(REASONING)]})
    found = [item.trajectory_id if isinstance(item, Trajectory) else item.detail for item in items]
    assert found == ["z/0", "sample 1: output is empty", "z/2"]


@pytest.mark.parametrize("change", [{"choices": ["1", "2"]}, {"problem": None}])
def test_the_question_with_its_choices(change: dict[str, Any]) -> None:
    (item,) = read(ROW | {"output": [written(REASONING)]} | change)
    assert isinstance(item, Trajectory)
    assert item.problem == "What is 4/2?\n\n## Choices: \n\n- (A) 1\n- (B) 2"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"question": "Q", "output": [written(REASONING)]}, "zeroeval"),
        (META | {"puzzle": "P", "output": [""]}, "zeroeval"),
        ({"question": "Q", "output": [REASONING]}, "samples"),
        (ROW | {"output": written(REASONING)}, "rows"),
        (ROW | {"output": []}, "rows"),
        (ROW | {"output": [None]}, "rows"),
    ],
)
def test_recognised_by_content(value: dict[str, Any], name: str) -> None:
    assert format_of(value) == name


def test_a_named_column_goes_first() -> None:
    (item,) = read(ROW | {"output": [written(REASONING)], "text": "1. **A** x\n\n2. **B** y"}, solution_field="text")
    assert isinstance(item, Trajectory)
    assert item.solution == "1. **A** x\n\n2. **B** y"


# Every command that the three files use, listed by hand from the decoded texts; anything else is a decoding error.
KNOWN = (
    "Delta Phi Rightarrow alpha angle approx begin beta bigg binom boxed cal cap cdot cdots circ cos cup deg delta "
    "dfrac div dots dotsb dotsm ell end equiv frac gamma ge geq hline implies in infty lambda lceil ldots le left "
    "leq lfloor lim ln log mathcal max mod mu nabla ne neq of omega overline parallel partial perp phi pi pm pmod "
    "prod quad rceil rfloor right rightarrow root sigma sin sqrt substack sum tan text tfrac theta times to "
    "triangle vdots "
)


@pytest.mark.parametrize(
    ("file", "dropped"),
    [
        ("grok2", {}),
        ("claude35sonnet", {}),
        ("o1mini", {"output is empty": 25, "output is cut off before its answer": 1}),
    ],
)
def test_real_files(shared_data: Callable[[str], Path], file: str, dropped: dict[str, int]) -> None:
    """400 rows each; o1-mini's file has 25 empty outputs, and one whose JSON was never closed."""
    path = shared_data(f"math/zeroeval_mathl5_{file}.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    items = list(read_trajectories(str(path)))
    assert len(items) == 400
    assert (
        Counter(item.detail.removeprefix("no solution: ") for item in items if isinstance(item, DroppedRow)) == dropped
    )
    commands: set[str] = set()
    for item in items:
        if isinstance(item, Trajectory):
            assert (item.problem, item.answer) == (rows[item.source.row]["problem"], rows[item.source.row]["answer"])
            assert not re.search(r"[\x00-\x09\x0b-\x1f]|```|\"answer\"", item.solution)
            commands.update(re.findall(r"(?<!\\)\\([A-Za-z]+)", item.solution))
    assert [name for name in sorted(commands) if f" {name} " not in f" {KNOWN} "] == []
    assert {"frac", "sqrt", "binom", "text"} <= commands
