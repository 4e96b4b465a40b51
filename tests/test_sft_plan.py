"""What an update of fine-tuning is made of, and its learning rate: no model needed."""

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from srl.sft.plan import count_draws, draw_updates, learning_rate, split
from srl.training_config import SFTConfig

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@given(num_examples=st.integers(1, 12), num_epochs=st.integers(1, 4), batch_size=st.integers(1, 7))
def test_every_epoch_has_every_example_once(num_examples, num_epochs, batch_size):
    draws = count_draws([1] * num_examples, SFTConfig(num_epochs=num_epochs))
    updates = draw_updates(num_examples, num_draws=draws, batch_size=batch_size, seed=3)
    order = [place for update in updates for place in update]
    for start in range(0, draws, num_examples):
        assert sorted(order[start : start + num_examples]) == list(range(num_examples))
    assert {len(update) for update in updates[:-1]} <= {batch_size}
    assert len(updates[-1]) == draws - batch_size * (len(updates) - 1)


def test_draws_depend_on_the_seed_and_epochs_differ():
    draw = [draw_updates(20, num_draws=40, batch_size=20, seed=seed) for seed in (0, 0, 1)]
    assert draw[0] == draw[1] != draw[2]
    assert draw[0][0] != draw[0][1]


def test_a_number_of_examples_caps_the_epochs():
    assert count_draws([5] * 10, SFTConfig(num_epochs=3)) == 30
    assert count_draws([5] * 10, SFTConfig(num_epochs=3, num_examples=17)) == 17
    assert count_draws([5] * 10, SFTConfig(num_epochs=1, num_examples=17)) == 10
    assert count_draws([4, 6] * 5, SFTConfig(num_epochs=3, num_tokens=87)) == 17  # 17.4 examples of five tokens
    assert count_draws([4, 6] * 5, SFTConfig(num_epochs=3, num_examples=12, num_tokens=87)) == 12
    assert count_draws([100], SFTConfig(num_epochs=3, num_tokens=7)) == 1
    assert [len(update) for update in draw_updates(10, num_draws=17, batch_size=8, seed=0)] == [8, 8, 1]


@given(lengths=LENGTHS, max_tokens=st.integers(1, 60), packing=st.booleans())
def test_micro_batches_hold_every_example_once_and_keep_the_limit(lengths, max_tokens, packing):
    chosen = [*range(len(lengths)), 0]  # an example may stand twice in an update of two epochs
    batches = split(chosen, lengths, max_tokens=max_tokens, packing=packing)
    assert Counter(place for batch in batches for place in batch) == Counter(chosen)
    for batch in batches:
        in_batch = [lengths[place] for place in batch]
        size = sum(in_batch) if packing else max(in_batch) * len(batch)
        assert size <= max_tokens or len(batch) == 1


@given(lengths=LENGTHS)
def test_no_two_packed_rows_would_fit_into_one(lengths):
    batches = split(range(len(lengths)), lengths, max_tokens=40, packing=True)
    sizes = sorted(sum(lengths[place] for place in batch) for batch in batches)
    assert len(sizes) < 2 or sizes[0] + sizes[1] > 40


def test_the_learning_rate_follows_the_formula():
    """Up in equal steps to the highest rate, which is reached at once after the warm-up; then half a cosine to 0."""
    rates = [learning_rate(update, num_updates=10, warmup_updates=3, highest=8e-6) for update in range(1, 12)]
    assert rates[:4] == [8e-6 * share for share in (0.25, 0.5, 0.75, 1.0)]
    expected = [8e-6 * (1 + math.cos(math.pi * done / 7)) / 2 for done in range(8)]
    assert rates[3:] == expected
    assert min(rates[:10]) > 0 == rates[10]


def test_one_update_is_made_at_the_highest_rate():
    assert learning_rate(1, num_updates=1, warmup_updates=0, highest=2.0) == 2.0
