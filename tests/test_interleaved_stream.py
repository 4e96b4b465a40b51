"""Steps and problems in one stream: the share that was asked for in any window, and a position that can be resumed."""

from __future__ import annotations

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import example

from srl.errors import DataError
from srl.example_stream import ExampleStream, Pool
from srl.interleaved_stream import InterleavedStream
from srl.types import TrainingExample

STEPS = [example(index) for index in range(12)]
PROBLEMS = [example(index) for index in range(100, 105)]
SHARES = st.integers(0, 40).map(lambda number: number / 40)


def stream(first: float, last: float | None = None, *, num_epochs: int = 1000) -> InterleavedStream:
    steps = ExampleStream(STEPS, seed=1, num_epochs=num_epochs)
    problems = ExampleStream(PROBLEMS, seed=2, num_epochs=num_epochs)
    return InterleavedStream(steps, problems, first_share=first, last_share=first if last is None else last)


def ids(examples: list[TrainingExample]) -> list[str]:
    return [item.example_id for item in examples]


def are_problems(examples: list[TrainingExample]) -> list[bool]:
    return [int(item.example_id[1:]) >= 100 for item in examples]


@given(SHARES, st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_any_window_has_the_share_of_problems_that_was_asked_for(share: float, sizes: list[int]) -> None:
    """Never off by one or more, whatever the sizes of the draws and wherever the window begins."""
    source = stream(share)
    source.begin(0.3)
    drawn = [is_problem for size in sizes for is_problem in are_problems(source.draw(size))]
    assert len(drawn) == sum(sizes)
    excess = [count - share * number for number, count in enumerate(accumulate(drawn, initial=0))]
    assert max(excess) - min(excess) < 1 + 1e-6
    for start in range(0, len(drawn) - 40, 7):  # 40 times the share is a whole number
        assert sum(drawn[start : start + 40]) == round(40 * share)


def test_ten_draws_at_three_tenths_are_three_problems_for_a_long_time() -> None:
    source = stream(0.3)
    source.begin(0.0)
    drawn = are_problems(source.draw(10_000))
    assert {sum(drawn[start : start + 10]) for start in range(9_990)} == {3}


@given(SHARES, SHARES, st.lists(st.floats(0, 1), max_size=8).map(sorted), st.integers(1, 30))
def test_the_share_moves_evenly_with_the_progress(
    first: float, last: float, progresses: list[float], size: int
) -> None:
    source, wanted, found = stream(first, last), 0.0, 0
    for progress in progresses:
        source.begin(progress)
        found += sum(are_problems(source.draw(size)))
        wanted += size * ((1 - progress) * first + progress * last)
    assert abs(found - wanted) < 1 + 1e-6


def test_progress_beyond_the_end_stays_at_the_last_share() -> None:
    source = stream(0.0, 1.0)
    source.begin(1.5)
    assert all(are_problems(source.draw(50)))
    source.begin(0.0)
    assert not any(are_problems(source.draw(50)))


@given(SHARES)
def test_both_kinds_are_drawn_pass_after_pass(share: float) -> None:
    source = stream(share)
    source.begin(0.5)
    drawn = source.draw(240)
    for kind, pool in ((True, PROBLEMS), (False, STEPS)):
        names = [item.example_id for item, is_problem in zip(drawn, are_problems(drawn), strict=True)
                 if is_problem == kind]  # fmt: skip
        for start in range(0, len(names) - len(pool) + 1, len(pool)):
            assert sorted(names[start : start + len(pool)]) == sorted(ids(pool))


@given(SHARES, SHARES, st.integers(0, 60), st.integers(0, 4), st.floats(0, 1))
def test_a_restored_stream_goes_on_exactly(
    first: float, last: float, position: int, num_given_back: int, progress: float
) -> None:
    original, copy = stream(first, last), stream(first, last)
    original.begin(progress / 2)
    drawn = original.draw(position)
    original.give_back(ids(drawn)[:num_given_back])
    copy.restore(original.state())
    for source in (original, copy):
        source.begin(progress)
    assert ids(copy.draw(70)) == ids(original.draw(70))
    assert copy.state() == original.state()
    assert copy.epoch == original.epoch


def test_the_pools_of_the_steps_follow_the_progress() -> None:
    pools = [Pool(until=0.5, ids=["e1", "e2"]), Pool(until=1.0, ids=["e3", "e4", "e5"])]
    steps = ExampleStream(STEPS, seed=1, num_epochs=50, pools=pools)
    source = InterleavedStream(steps, ExampleStream(PROBLEMS, seed=2, num_epochs=50), first_share=0.5, last_share=0.5)
    for progress, pool in ((0.0, pools[0]), (0.5, pools[1])):
        source.begin(progress)
        drawn = source.draw(2 * len(pool.ids))
        assert sorted(ids(drawn)[::2]) == sorted(pool.ids)


def test_what_is_given_back_comes_first_of_its_kind() -> None:
    source = stream(0.5)
    source.begin(0.0)
    drawn = source.draw(8)
    steps, problems = drawn[0::2], drawn[1::2]
    assert are_problems(drawn) == [False, True] * 4
    source.give_back(ids([problems[3], steps[1], problems[0], steps[3]]))
    again = source.draw(4)
    assert ids(again) == ids([steps[1], problems[3], steps[3], problems[0]])


@given(st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0, 0.0]))
def test_the_mix_ends_with_the_first_stream_that_ends(share: float) -> None:
    """The rest of the other one would come in a share that nobody asked for."""
    source = stream(share, num_epochs=3)
    source.begin(0.0)
    drawn = are_problems(source.draw(1000))
    assert source.is_exhausted
    assert source.draw(3) == []
    assert abs(sum(drawn) - share * len(drawn)) < 1
    assert sum(drawn) == 15 or len(drawn) - sum(drawn) == 36
    assert source.epoch == 3.0


def test_it_is_not_at_its_end_while_something_was_given_back() -> None:
    source = stream(0.25, num_epochs=1)
    source.begin(0.0)
    drawn = source.draw(1000)
    assert source.is_exhausted
    last_step = [item for item, is_problem in zip(drawn, are_problems(drawn), strict=True) if not is_problem][-1]
    source.give_back([last_step.example_id])
    assert not source.is_exhausted
    assert last_step.example_id in ids(source.draw(5))
    assert source.is_exhausted


def test_epoch_is_that_of_the_stream_that_is_ahead() -> None:
    source = stream(0.5)
    source.begin(0.0)
    source.draw(12)
    assert math.isclose(source.epoch, 6 / 5)
    assert math.isclose(stream(0.0).epoch, 0.0)


def test_an_id_of_both_kinds_is_refused() -> None:
    """It would be given back to both, and drawn twice."""
    steps = ExampleStream(STEPS, seed=0, num_epochs=1)
    problems = ExampleStream([*PROBLEMS, STEPS[3]], seed=0, num_epochs=1)
    with pytest.raises(DataError, match=r"1 ids are those of a step and of a problem, for instance 'e3'"):
        InterleavedStream(steps, problems, first_share=0.5, last_share=0.5)


def test_other_problems_are_refused_on_resume() -> None:
    steps = ExampleStream(STEPS, seed=1, num_epochs=1000)
    fewer = ExampleStream(PROBLEMS[1:], seed=2, num_epochs=1000)
    with pytest.raises(DataError, match="differs"):
        InterleavedStream(steps, fewer, first_share=0.5, last_share=0.5).restore(stream(0.5).state())
