"""docs/tasks.md shows what the tasks and the measurements say, and nothing else."""

import json
import sys
from pathlib import Path

from srl.tasks import TASKS, chains_corpus, equations_corpus
from srl.tasks.documents import IN_MY_HEAD, in_tags

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from bases import table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")


def shown_example(task):
    """The first problem of a known list that the page shows."""
    return next(item for item in task.make_problems("train", 5, 2026) if item.problem in PAGE)


def test_the_examples_are_problems_of_the_tasks_as_their_experts_solve_them():
    for name in ("chains", "equations"):
        item = shown_example(TASKS[name])
        assert "\n\n".join(f"    {step}" for step in item.steps) in PAGE
        assert any(
            f"    {in_tags(thought)}{step}\n" in PAGE for thought, step in zip(item.monologues, item.steps, strict=True)
        )


def test_the_careless_steps_are_those_of_the_corpus():
    chain, equation = (shown_example(TASKS[name]) for name in ("chains", "equations"))
    wrong = chains_corpus.calculate_in_the_head(chain.start, chain.operations[0])
    assert f"{in_tags(IN_MY_HEAD)}1. **Multiply by 9** 49*9={wrong}, keep {wrong % 100}." in PAGE
    undo = equation.operations[0].inverse
    wrong = equations_corpus.calculate_in_the_head(undo.inverse.apply(int(equation.answer)), undo)
    assert f"{in_tags(IN_MY_HEAD)}5. **Divide by 8** x={wrong}. The answer is \\boxed{{{wrong}}}." in PAGE


def test_the_shares_are_those_of_the_corpus():
    assert chains_corpus.CARELESS_SHARE == {"add": 0.65, "subtract": 0.8, "multiply": 0.8}
    assert "65 % of the additions and 80 % of the subtractions and multiplications" in PAGE
    assert equations_corpus.CARELESS_SHARE == {"add": 0.35, "subtract": 0.7, "multiply": 0.7, "divide": 0.75}
    assert "70 % of the subtractions and multiplications and 75 % of the divisions" in PAGE


def test_the_table_is_that_of_the_benchmark():
    result = json.loads((ROOT / "benchmarks" / "results" / "bases.json").read_text("utf-8"))
    _, _, rest = PAGE.partition("<!-- bases -->\n")
    assert rest.partition("<!-- /bases -->")[0] == table(result)
    for row in result["rows"]:
        if row["careless"] is None:
            task = TASKS[row["task"]]
            for name, (low, high) in (
                ("steps/greedy", task.base_step_accuracy),
                ("whole/greedy", task.base_solve_rate),
            ):
                values = [score["value"] for key, score in row["scores"].items() if key.startswith(name)]
                assert values
                assert all(low <= value <= high for value in values)
