"""What an action repeats: every case has a value that can be seen without computing."""

from __future__ import annotations

import difflib
import random
from collections import Counter
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.example_store import load_examples
from srl.examples import ExampleSettings
from srl.signals.actions import (
    GroupActions,
    find_copies,
    find_duplicates,
    find_several_steps,
    length_correlation,
    rank_correlation,
    similarity_bound,
    step_body,
)

PREVIOUS = "1. **Add the numbers** We add 48 and 24 and get $48 + 24 = 72$ apples."
TARGET = "2. **Halve the sum** Each of the two children gets $72 / 2 = 36$ of them."
NEXT = "3. **Count the days** At four a day they last for $36 / 4 = 9$ days."
UNRELATED = "By the triangle inequality, no such polygon can exist, hence a contradiction."
TEXT = st.text("ab =1$", max_size=30)


def group(*actions: str, context: tuple[str, ...] = (PREVIOUS,), target: str = TARGET) -> GroupActions:
    return GroupActions(
        target=target, actions=actions, rewards=(None,) * len(actions), context=context, next_action=NEXT
    )


@pytest.mark.parametrize(
    ("action", "place"),
    [
        (PREVIOUS, 0),
        (PREVIOUS.replace("1.", "2.", 1), 0),  # counts on, and repeats all the same
        (PREVIOUS.removeprefix("1. **Add the numbers** "), 0),  # as where the prompt holds the title
        (PREVIOUS.replace("48", "49"), 0),
        (TARGET, None),
        (UNRELATED, None),
        (PREVIOUS + " " + UNRELATED, None),
    ],
)
def test_what_is_a_copy_of_the_previous_step(action: str, place: int | None) -> None:
    assert find_copies([group(action)]) == [[place]]


def test_a_copy_is_of_the_nearest_step_and_needs_a_context() -> None:
    steps = (UNRELATED, PREVIOUS.replace("48", "47"), PREVIOUS)
    assert find_copies([group(PREVIOUS, context=steps), group(PREVIOUS, context=())]) == [[2], [None]]


def test_repeating_what_the_expert_repeats_is_right() -> None:
    again = PREVIOUS.replace("48", "58")
    assert find_copies([group(again, PREVIOUS, target=again)]) == [[None, 0]]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (f"{TARGET}\n\n{NEXT}", True),
        (f"{TARGET}\n\n{NEXT}\n\n{UNRELATED * 5}", True),  # the whole rest of the solution
        (f"{TARGET.replace('gets', 'has')} {NEXT.replace('last', 'suffice')}", True),
        (TARGET, False),
        (NEXT, False),
        (f"{TARGET}\n\n{UNRELATED}", False),
        (f"{TARGET}\n\n{TARGET}", False),
        ("", False),
    ],
)
def test_what_solves_several_steps_at_once(action: str, expected: bool) -> None:
    assert find_several_steps([group(action)]) == [[expected]]


def test_a_short_next_step_must_be_there_too() -> None:
    long = f"{TARGET} {UNRELATED} {PREVIOUS}"
    rest = GroupActions(
        target=long,
        actions=(f"{long} Quite so, we hope.", f"{long} 4. **End** 9."),
        rewards=(1.0, 1.0),
        next_action="4. **End** 9.",
    )
    assert find_several_steps([rest]) == [[False, True]]


def test_leaving_the_target_out_is_not_solving_both() -> None:
    rest = GroupActions(
        target="2. **Halve** $72 / 2 = 36$", actions=(NEXT + UNRELATED,), rewards=(0.1,), next_action=NEXT + UNRELATED
    )
    assert find_several_steps([rest]) == [[False]]


def test_without_a_next_step_nothing_solves_several() -> None:
    last = GroupActions(target=TARGET, actions=(f"{TARGET}\n{NEXT}",), rewards=(1.0,))
    assert find_several_steps([last]) == [[False]]


def test_steps_of_real_solutions_are_neither_copies_nor_several(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    with shared_data("math/amc_aime_solutions.jsonl").open(encoding="utf-8") as file:
        (tmp_path / "some.jsonl").write_text("".join(islice(file, 150)), encoding="utf-8")
    store = load_examples(str(tmp_path / "some.jsonl"), ExampleSettings()).store
    groups: list[GroupActions] = []
    for example, following in pairwise(store[row] for row in range(len(store))):
        if example.trajectory_id == following.trajectory_id and example.context:
            target, after = example.target_action, following.target_action
            groups.append(
                GroupActions(
                    target=target,
                    actions=(target, f"{target}\n\n{after}", example.context[-1]),
                    rewards=(1.0, 0.5, 0.5),
                    context=example.context,
                    next_action=after,
                )
            )
    assert len(groups) > 300
    assert [tuple(found) for found in find_several_steps(groups)] == [(False, True, False)] * len(groups)
    copies = find_copies(groups)
    assert [places[0] for places in copies] == [None] * len(groups)
    # The few that are not found are steps whose target repeats the previous one, in the same words.
    assert sum(places[2] is not None for places in copies) > 0.97 * len(groups)


@given(TEXT, TEXT)
def test_the_bound_is_never_below_the_ratio_nor_the_copies_worse_than_difflib(a: str, b: str) -> None:
    ratio = difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()
    if a and b:
        assert similarity_bound(a, Counter(a), b, Counter(b)) >= ratio
    body, other = step_body(a), step_body(b)
    to_step = difflib.SequenceMatcher(None, body, other, autojunk=False).ratio()
    to_target = difflib.SequenceMatcher(None, body, step_body(TARGET), autojunk=False).ratio()
    expected = 0 if body and other and to_step >= 0.9 and to_step > to_target else None
    assert find_copies([group(a, context=(b,))]) == [[expected]]


@given(st.lists(st.lists(TEXT, max_size=5), max_size=4), st.randoms(use_true_random=False))
def test_order_does_not_matter(actions: list[list[str]], rng: random.Random) -> None:
    groups = [group(*texts, context=("a = 1", "b"), target="ab") for texts in actions]
    for find in (find_copies, find_several_steps):
        found = find(groups)
        order = rng.sample(range(len(groups)), len(groups))
        assert find([groups[place] for place in order]) == [found[place] for place in order]
        backwards = [group(*texts[::-1], context=("a = 1", "b"), target="ab") for texts in actions]
        assert find(backwards) == [marks[::-1] for marks in found]


@given(st.lists(st.sampled_from("abc"), max_size=8))
def test_duplicates_are_the_values_that_occur_twice(actions: list[str]) -> None:
    assert find_duplicates(actions) == [actions.count(action) > 1 for action in actions]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=8))
def test_rank_correlation_is_symmetric_and_turns_with_the_sign(pairs: list[tuple[int, int]]) -> None:
    x, y = [a for a, _ in pairs], [b for _, b in pairs]
    found = rank_correlation(x, y)
    assert found == rank_correlation(y, x)
    if found is None:
        assert len(set(x)) == 1 or len(set(y)) == 1
    else:
        assert -1 <= found <= 1
        assert found == pytest.approx(-(rank_correlation(x, [-b for b in y]) or 0.0))
        assert found == pytest.approx(rank_correlation([a**3 for a in x], y))  # ranks only


def test_rank_correlation_of_ties_by_hand() -> None:
    """Ranks 1.5 1.5 3 and 1 2 3: products 0.5 + 0 + 1, squares 1.5 and 2."""
    assert rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(1.5 / (1.5 * 2) ** 0.5)


def test_length_correlation_is_within_groups() -> None:
    """Shorter pays in both groups; over all rollouts together longer would pay, because the long ones are paid more."""
    first = GroupActions(target="", actions=("a", "aa"), rewards=(0.2, 0.1))
    second = GroupActions(target="", actions=("a" * 8, "a" * 9), rewards=(0.9, 0.8))
    flat = GroupActions(target="", actions=("a", "aa"), rewards=(0.5, 0.5))
    ungraded = GroupActions(target="", actions=("a", "aa", "aaa"), rewards=(0.2, 0.1, None))
    assert length_correlation([first, second, flat, ungraded]) == -1.0
    assert length_correlation([flat]) is None


@pytest.mark.parametrize(
    ("step", "body"),
    [
        ("2. **Add 66** 44+66=110", "44+66=110"),
        ("### Step 3: Solve for x\nx = 2", "Solve for x\nx = 2"),
        ("**Step 3:** x = 2", "x = 2"),
        ("4. **Conclude**", "4. **Conclude**"),
        ("0.85x = 3", "0.85x = 3"),
        ("12 apples", "12 apples"),
        ("  ls -la ", "ls -la"),
        ("", ""),
    ],
)
def test_number_and_title_are_no_part_of_thestep_body(step: str, body: str) -> None:
    assert step_body(step) == body
