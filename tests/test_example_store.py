"""Examples on disk: what is read, what is left out, which trajectories are held out."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.errors import DataError
from srl.example_store import ExampleStore, StoredTrajectory, hold_out, load_examples
from srl.examples import ExampleSettings, make_step_examples, to_json
from srl.rewriting.originals import Original, read_originals
from srl.trajectories.segment import split_steps
from srl.trajectories.settings import ReadSettings
from srl.types import Source, Step, StepExample, Trajectory

SOLUTION = "Let us see.\n\n1. **Add**: 2 + 3\n\n2. **Double:** 10\n\n3. **Conclude** \\boxed{10}\n"
ALL = ExampleSettings(include_last_step=True)


def trajectory(trajectory_id: str = "a", problem: str = "", answer: str | None = "10") -> Trajectory:
    return Trajectory(
        trajectory_id=trajectory_id,
        problem=problem or f"Problem {trajectory_id}",
        steps=split_steps(SOLUTION),
        answer=answer,
        source=Source(file="experts.jsonl", row=3),
    )


def agent(num_steps: int) -> Trajectory:
    steps = tuple(Step(title="", text=f"do {k}", body=f"do {k}", observation=f"saw {k}") for k in range(num_steps))
    return Trajectory(
        trajectory_id="log", problem="Fix it", steps=steps, answer=None, source=Source(file="l", row=0), kind="agent"
    )


def examples_of(*trajectory_ids: str) -> list[StepExample]:
    return [example for name in trajectory_ids for example in make_step_examples(trajectory(name))]


def store_of(examples: list[StepExample]) -> ExampleStore:
    store = ExampleStore()
    for example in examples:
        store.append(example)
    return store


def write_rows(path: Path, rows: list[dict[str, object]]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@given(st.permutations(range(6)))
def test_a_store_gives_every_example_back_in_any_order(order: list[int]) -> None:
    examples = examples_of("a", "b")
    store = store_of(examples)
    assert [store[index] for index in order] == [examples[index] for index in order]
    assert list(store) == examples
    assert store[-1] == examples[-1]
    assert store[1:3] == examples[1:3]
    with pytest.raises(IndexError):
        store[6]


def test_a_store_can_be_read_while_it_grows() -> None:
    store, examples = ExampleStore(), examples_of("a", "b")
    for count, example in enumerate(examples, start=1):
        store.append(example)
        assert list(store) == examples[:count]


def test_what_a_store_knows_without_reading() -> None:
    store = store_of([*examples_of("a"), *make_step_examples(trajectory("b", "Problem A!", None))])
    assert [store.owner(row).trajectory_id for row in range(6)] == ["a"] * 3 + ["b"] * 3
    assert [store.step_index(row) for row in range(6)] == [0, 1, 2, 0, 1, 2]
    assert [item.has_answer for item in store.trajectories] == [True, False]
    assert store.trajectories[0].problem_digest == store.trajectories[1].problem_digest
    assert len({store.digest(row) for row in range(6)}) == 6
    assert store.digest(4) == store_of(make_step_examples(trajectory("b", "Problem A!", None))).digest(1)


def test_a_store_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = store_of(examples_of("a"))
    assert list(tmp_path.iterdir()) == []  # unlinked while open: nothing to clean up after a kill
    assert store[0] == examples_of("a")[0]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("include_last_step", [True, False])
def test_trajectories_and_their_examples_load_alike(tmp_path: Path, suffix: str, include_last_step: bool) -> None:
    source = str(tmp_path / f"t{suffix}")
    write_rows(Path(source), [{"id": name, "problem": f"Problem {name}", "solution": SOLUTION} for name in "ab"])
    settings = ExampleSettings(include_last_step=include_last_step)
    loaded = load_examples(source, settings)
    assert [(example.trajectory_id, example.step_index) for example in loaded.store] == [
        (name, index) for name in "ab" for index in range(3 if include_last_step else 2)
    ]
    every = list(load_examples(source, ALL).store)
    written = write_rows(tmp_path / f"e{suffix}", [to_json(example) for example in every])
    again = load_examples(written, settings)
    assert (list(again.store), again.dropped, again.left_out) == (list(loaded.store), Counter(), loaded.left_out)
    assert loaded.left_out == Counter() if include_last_step else {"last_step": 2}


def test_files_of_a_folder_may_share_their_ids(tmp_path: Path) -> None:
    """As for ``srl decompose``: two files that number their rows from 0 are not one file with duplicates."""
    for name in "ab":
        write_rows(tmp_path / f"{name}.jsonl", [{"id": "7", "problem": f"Problem {name}", "solution": SOLUTION}])
    loaded = load_examples(str(tmp_path), ALL)
    assert loaded.dropped == Counter()
    assert [known.trajectory_id for known in loaded.store.trajectories] == ["a/7", "b/7"]
    originals = read_originals(str(tmp_path), settings=ReadSettings(), rows="all")
    assert [item.trajectory_id for item in originals if isinstance(item, Original)] == ["a/7", "b/7"]


def test_bad_rows_among_examples(tmp_path: Path) -> None:
    good = [to_json(example) for example in examples_of("a", "b")]
    source = write_rows(tmp_path / "e.jsonl", [*good, good[0], good[1] | {"num_steps": 1}, {"problem": "x"}])
    loaded = load_examples(source, ALL)
    assert list(loaded.store) == examples_of("a", "b")
    assert loaded.dropped == {"duplicate_id": 1, "inconsistent": 1, "missing_field": 1}


def test_an_id_with_two_problems_is_not_one_trajectory(tmp_path: Path) -> None:
    first = [to_json(example) for example in examples_of("a")]
    other = [row | {"problem": "another", "step_index": 3, "num_steps": 4, "context": ["x"] * 3} for row in first[:1]]
    loaded = load_examples(write_rows(tmp_path / "e.jsonl", [*first, *other]), ALL)
    assert list(loaded.store) == examples_of("a")
    assert loaded.dropped == {"inconsistent": 1}


def test_a_cap_holds_for_the_whole_trajectory(tmp_path: Path) -> None:
    one = ExampleSettings(include_last_step=True, max_per_trajectory=1)
    rows = [to_json(example) for example in examples_of("a", "b")]
    chosen = list(load_examples(write_rows(tmp_path / "e.jsonl", rows), one).store)
    assert [example.trajectory_id for example in chosen] == ["a", "b"]
    bad_between = [rows[0], {"problem": "x"}, *rows[1:]]
    assert list(load_examples(write_rows(tmp_path / "f.jsonl", bad_between), one).store) == chosen
    source = write_rows(tmp_path / "g.jsonl", [rows[0], rows[3], rows[1]])
    with pytest.raises(DataError, match="examples of 'a' do not stand together"):
        load_examples(source, one)
    assert len(load_examples(source, ALL).store) == 3


@pytest.mark.skipif(os.name != "posix", reason="a limit on the size of files")
def test_a_full_temporary_folder_is_said_so(tmp_path: Path) -> None:
    import resource

    source = write_rows(tmp_path / "t.jsonl", [{"id": n, "problem": f"P {n}", "solution": SOLUTION} for n in range(99)])
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(DataError, match="set TMPDIR to a folder with more room"):
            load_examples(source, ALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_file_without_examples_is_an_error(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "t.jsonl", [{"problem": "x", "solution": "y"}])
    with pytest.raises(DataError, match=r"1 rows were dropped.*; the first drop: .*t.jsonl, line 1: too_few_steps"):
        load_examples(source, ExampleSettings())
    source = write_rows(tmp_path / "e.jsonl", [to_json(example) for example in examples_of("a")])
    with pytest.raises(DataError, match="0 rows were dropped, 3 examples left out by settings"):
        load_examples(source, ExampleSettings(min_target_chars=100))


def test_agents_examples_show_as_many_rounds_as_asked_for(tmp_path: Path) -> None:
    written = [to_json(example) for example in make_step_examples(agent(5), context_turns=2)]
    source = write_rows(tmp_path / "log.jsonl", written)
    assert [len(example.context) for example in load_examples(source, ALL).store] == [0, 1, 2, 2, 2]
    one = load_examples(source, ExampleSettings(include_last_step=True, context_turns=1)).store
    assert [(example.context, example.observations) for example in one][3] == (("do 2",), ("saw 2",))
    with pytest.raises(DataError, match=r"step 3 .* holds 2 rounds .* context_turns = 3 .* --context-turns 3"):
        load_examples(source, ExampleSettings(context_turns=3))


def stored(*problems: str) -> list[StoredTrajectory]:
    return store_of(
        [e for n, problem in enumerate(problems) for e in make_step_examples(trajectory(str(n), problem))]
    ).trajectories


def test_which_are_held_out_depends_on_the_seed_and_not_on_the_order() -> None:
    trajectories = stored(*"abcdefghij")
    sets = [hold_out(trajectories, 3, seed) for seed in range(5)]
    assert {len(held_out) for held_out in sets} == {3}
    assert len({frozenset(held_out) for held_out in sets}) > 1
    assert hold_out(trajectories[::-1], 3, 0) == sets[0] == hold_out(trajectories, 3, 0)


def test_the_held_out_trajectories_are_the_same_everywhere() -> None:
    """Locked: another Python or another release must hold the same trajectories out for the same seed."""
    assert sorted(hold_out(stored(*"abcdefghij"), 3, seed=0)) == ["2", "8", "9"]


@given(
    st.lists(st.sampled_from(["p", "P!", "q", "r", "s"]), min_size=2, max_size=8), st.integers(0, 7), st.integers(0, 9)
)
def test_same_problem_never_on_both_sides(problems: list[str], num_validation: int, seed: int) -> None:
    trajectories = stored(*problems)
    if num_validation >= len(problems):
        with pytest.raises(DataError, match="at least one must be left"):
            hold_out(trajectories, num_validation, seed)
        return
    sizes = Counter(problem.strip("!").lower() for problem in problems)
    if 0 < num_validation < min(sizes.values()):
        with pytest.raises(DataError, match="share the same problem"):
            hold_out(trajectories, num_validation, seed)
        return
    held_out = hold_out(trajectories, num_validation, seed)
    sides: list[set[str]] = [set(), set()]
    for index, problem in enumerate(problems):
        sides[str(index) in held_out].add(problem.strip("!").lower())
    assert not sides[0] & sides[1]
    assert sides[0]
    assert len(held_out) <= num_validation
    if set(sizes.values()) == {1}:
        assert len(held_out) == num_validation


def test_no_validation() -> None:
    assert hold_out(stored("a"), 0, 0) == set()
    with pytest.raises(DataError, match="cannot hold -1"):
        hold_out(stored("a"), -1, 0)


def test_real_file(shared_data: Callable[[str], Path]) -> None:
    store = load_examples(str(shared_data("math/amc_aime_solutions.jsonl")), ALL).store
    held_out = hold_out(store.trajectories, 60, seed=0)
    assert len(held_out) == 60
    problems = [
        {example.problem for example in store if (example.trajectory_id in held_out) == side} for side in (0, 1)
    ]
    assert not problems[0] & problems[1]


def test_training_on_logs_of_calls_reads_each_conversation_once(shared_data: Callable[[str], Path]) -> None:
    """As decompose does: four of the eight logs of calls are the beginnings of later ones."""
    loaded = load_examples(str(shared_data("swe/openhands_llm_logs")), ALL)
    assert len(loaded.store.trajectories) == 4
    assert loaded.dropped == {"superseded": 4, "too_few_steps": 2}


def test_a_digest_is_of_the_words_and_not_where_it_stands() -> None:
    (first, *_) = examples_of("a")
    elsewhere = replace(first, source=Source(file="other\udcff.jsonl", row=9))
    store = store_of([first, elsewhere, replace(first, target_action="x")])
    assert store[1] == elsewhere
    assert store.digest(0) == store.digest(1) != store.digest(2)
