"""The order of the data: every example once per epoch, and resumable anywhere."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import example

from srl.errors import DataError
from srl.example_stream import ExampleStream
from srl.types import Source, StepExample

EXAMPLES = [example(index) for index in range(7)]


def stream(**changes):
    return ExampleStream(EXAMPLES, **({"seed": 0, "num_epochs": 3} | changes))


def ids(examples):
    return [item.example_id for item in examples]


@given(st.lists(st.integers(0, 9), max_size=12))
def test_every_example_once_per_epoch_whatever_the_draw_sizes(sizes):
    source = stream()
    drawn = [name for size in [*sizes, 100] for name in ids(source.draw(size))]
    assert len(drawn) == 21
    for epoch in range(3):
        assert sorted(drawn[7 * epoch : 7 * epoch + 7]) == sorted(ids(EXAMPLES))
    assert source.draw(5) == []
    assert source.epoch == 3.0


def test_epochs_and_seeds_have_their_own_order():
    first = ids(stream().draw(21))
    assert first == ids(stream().draw(21))
    assert first != ids(stream(seed=1).draw(21))
    assert first[:7] != first[7:14]


@given(st.integers(0, 20), st.integers(0, 3))
def test_a_restored_stream_continues_exactly(position, num_given_back):
    original = stream()
    drawn = original.draw(position)
    original.give_back(drawn[:num_given_back])
    copy = stream()
    copy.restore(original.state())
    assert ids(copy.draw(30)) == ids(original.draw(30))


def test_given_back_examples_come_first():
    source = stream()
    drawn = source.draw(5)
    source.give_back(drawn[3:])
    assert ids(source.draw(3))[:2] == ids(drawn[3:])


def test_other_data_and_double_ids_are_refused():
    with pytest.raises(DataError, match="share their id"):
        ExampleStream([example(1), example(1)], seed=0, num_epochs=1)
    source = stream()
    source.give_back(source.draw(2))
    with pytest.raises(DataError, match="differs"):
        ExampleStream([example(99)], seed=0, num_epochs=3).restore(source.state())


def step_of(trajectory, index, name):
    step = StepExample(
        trajectory_id=trajectory, step_index=index, num_steps=9, problem="p", context=(), title="", target_action="a",
        target_body="a", answer=None, source=Source(file="f", row=0),
    )  # fmt: skip
    return replace(example(0), example_id=name, step=step)


# Ids that say nothing about the trajectory, steps out of order and one that is missing.
STEPS = [step_of("t#2", 2, "d"), step_of("t", 11, "b"), step_of("t#2", 0, "z"), step_of("t", 2, "q"), example(7)]


@given(st.integers(0, 99), st.lists(st.integers(0, 4), max_size=6))
def test_drawn_by_trajectory_its_steps_come_together_and_in_order(seed, sizes):
    source = ExampleStream(STEPS, seed=seed, num_epochs=2, draw_by="trajectory")
    drawn = [name for size in [*sizes, 100] for name in ids(source.draw(size))]
    for epoch in (drawn[:5], drawn[5:]):
        text = " ".join(epoch)
        assert sorted(epoch) == sorted(ids(STEPS))
        assert "z d" in text
        assert "q b" in text


def test_trajectories_have_another_order_in_every_epoch_and_a_restored_stream_goes_on():
    settings = {"seed": 4, "num_epochs": 20, "draw_by": "trajectory"}
    source = ExampleStream(STEPS, **settings)
    epochs = {tuple(ids(source.draw(5))) for _ in range(19)}
    assert len(epochs) == 6  # three trajectories, all orders
    source.draw(2)
    copy = ExampleStream(STEPS, **settings)
    copy.restore(source.state())
    assert ids(copy.draw(9)) == ids(source.draw(9))
