"""How an update is cut: every row once, within the budget, counted as it is computed, shared by the processes."""

from __future__ import annotations

import random
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_groups

from srl.logprobs import pad_batch
from srl.micro_batches import TrainingRow, cut, num_computed, own_share, training_rows
from srl.packing.tree import pack

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import shapes

LAYOUTS = ("packed", "packed_by_group", "padded")


def make_rows(seed, num_prompts, group_size, length):
    """Rows of prompts that begin alike; an advantage that no other row has says which row it is."""
    rng = random.Random(seed)

    def tokens(most):
        return [rng.randrange(5, 50) for _ in range(rng.randint(1, most))]

    trunk = tokens(2 * length)
    prompts = [tuple(trunk[: rng.randint(0, len(trunk))] + tokens(length)) for _ in range(num_prompts)]
    prompts += rng.choices(prompts, k=num_prompts // 3)  # the same example twice
    rows = [(prompt, tuple(tokens(length))) for prompt in prompts for _ in range(rng.randint(1, group_size))]
    return [
        TrainingRow(prompt_ids=prompt, completion_ids=completion, advantage=float(index))
        for index, (prompt, completion) in enumerate(rows)
    ]


rows_of_all_kinds = st.builds(
    make_rows, st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 5, 30, 80])
)


def places(rows):
    return Counter(row.advantage for row in rows)


@settings(max_examples=150, deadline=None)
@given(
    rows=rows_of_all_kinds, layout=st.sampled_from(LAYOUTS), max_tokens=st.integers(1, 900),
    num_processes=st.integers(1, 5),
)  # fmt: skip
def test_every_row_once_within_the_budget_the_largest_first(rows, layout, max_tokens, num_processes):
    num_processes = min(num_processes, len(rows))
    everything = []
    for index in range(num_processes):
        own = own_share(rows, layout, process_index=index, num_processes=num_processes)
        assert own
        batches = cut(own, layout, max_tokens=max_tokens)
        assert places(own) == places(row for batch in batches for row in batch)
        sizes = [num_computed(batch, layout) for batch in batches]
        assert sizes == sorted(sizes, reverse=True)
        for batch, size in zip(batches, sizes, strict=True):
            assert size <= max_tokens or len(batch) == 1
        everything += own
    assert places(everything) == places(rows)


@settings(max_examples=150, deadline=None)
@given(rows=rows_of_all_kinds, layout=st.sampled_from(LAYOUTS), max_tokens=st.integers(1, 2000))
def test_a_micro_batch_ends_only_where_the_next_row_does_not_fit(rows, layout, max_tokens):
    own = own_share(rows, layout, process_index=0, num_processes=1)
    order = {row.advantage: place for place, row in enumerate(own)}
    batches = sorted(cut(own, layout, max_tokens=max_tokens), key=lambda batch: order[batch[0].advantage])
    assert [row for batch in batches for row in batch] == own
    for batch, following in pairwise(batches):
        assert num_computed([*batch, following[0]], layout) > max_tokens


@settings(max_examples=150, deadline=None)
@given(rows=rows_of_all_kinds)
def test_what_is_counted_is_what_is_computed(rows):
    pairs = [(row.prompt_ids, row.completion_ids) for row in rows]
    assert num_computed(rows, "packed") == pack(pairs).num_tokens
    assert num_computed(rows, "packed_by_group") == pack(pairs, across_prompts=False).num_tokens
    assert num_computed(rows, "padded") == pad_batch(pairs, pad_token_id=0).input_ids.numel()


@settings(max_examples=150, deadline=None)
@given(rows=rows_of_all_kinds, layout=st.sampled_from(LAYOUTS), num_processes=st.integers(2, 6))
def test_processes_get_about_as_much(rows, layout, num_processes):
    """No process has more than its part and the largest row beside it, and what it computes anew at its border."""
    num_processes = min(num_processes, len(rows))
    shares = [own_share(rows, layout, process_index=i, num_processes=num_processes) for i in range(num_processes)]
    largest = max(row.num_tokens for row in rows)
    if layout == "padded":  # by length, so what counts is the rows' own tokens
        sums = [sum(row.num_tokens for row in share) for share in shares]
        assert max(sums) - min(sums) <= largest
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    else:
        assert max(num_computed(share, layout) for share in shares) <= (
            num_computed(rows, layout) / num_processes + 2 * largest
        )


@pytest.mark.parametrize("layout", ["packed", "packed_by_group"])
def test_a_group_is_divided_only_at_a_border(layout):
    """Rows of one prompt follow one another, whatever the order of groups; at most one group is cut at each border."""
    rows = make_rows(3, 8, 8, 40)
    random.Random(0).shuffle(rows)
    shares = [own_share(rows, layout, process_index=index, num_processes=3) for index in range(3)]
    ordered = [row.prompt_ids for share in shares for row in share]
    runs = [prompt for place, prompt in enumerate(ordered) if place == 0 or ordered[place - 1] != prompt]
    assert len(runs) == len(set(runs))
    in_how_many = Counter(prompt for share in shares for prompt in {row.prompt_ids for row in share})
    assert sum(in_how_many.values()) - len(in_how_many) <= 2
    batches = cut(shares[0], layout, max_tokens=300)
    in_how_many = Counter(prompt for batch in batches for prompt in {row.prompt_ids for row in batch})
    assert sum(in_how_many.values()) - len(in_how_many) <= len(batches) - 1


def test_one_trajectory_stays_together_whatever_the_order():
    """Two trajectories of five contexts, interleaved: packed in the order of their tokens, each is computed once."""
    rng = random.Random(0)
    contexts = [[rng.randrange(5, 50) for _ in range(200)] for _ in range(2)]
    rows = [
        TrainingRow(prompt_ids=(*contexts[which][:length], 3), completion_ids=(7, 8), advantage=0.0)
        for length in (200, 40, 80, 160, 120)
        for which in (0, 1)
    ]
    batches = cut(own_share(rows, "packed", process_index=0, num_processes=1), "packed", max_tokens=200 + 5 * 3)
    assert [num_computed(batch, "packed") for batch in batches] == [215, 215]
    shares = [own_share(rows, "packed", process_index=index, num_processes=2) for index in (0, 1)]
    assert [len({row.prompt_ids[0] for row in share}) for share in shares] == [1, 1]


def test_rows_keep_what_belongs_to_them():
    groups = random_groups(2, 3)
    rows = training_rows(groups, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [False, True])
    assert [row.advantage for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row.is_stale for row in rows] == [False] * 3 + [True] * 3
    assert [row.prompt_ids for row in rows] == [group.prompt_token_ids for group in groups for _ in range(3)]
    assert [row.completion_ids for row in rows] == [r.completion.token_ids for group in groups for r in group.rollouts]
    with pytest.raises(ValueError, match="argument"):
        training_rows(groups, [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="argument"):
        training_rows(groups, [[1.0, 2.0, 3.0], [4.0, 5.0]])


def test_padding_on_real_data(shared_data, tmp_path):
    """Packed rows have none. Padded ones have little with a small budget, less than rows in any order have."""
    lines = shared_data("math/amc_aime_solutions.jsonl").read_text("utf-8").splitlines(keepends=True)[:120]
    (tmp_path / "math").mkdir()
    (tmp_path / "math" / "amc_aime_solutions.jsonl").write_text("".join(lines), "utf-8")
    groups = shapes.math_groups(16, drawn="random", data=tmp_path)
    rows = training_rows(groups, [[0.0] * 8] * 16)
    asked = sum(row.num_tokens for row in rows)

    def computed(own, layout):
        return sum(num_computed(batch, layout) for batch in cut(own, layout, max_tokens=2048))

    def share(layout):
        return computed(own_share(rows, layout, process_index=0, num_processes=1), layout)

    assert 1 - asked / share("padded") < 0.12
    assert 1 - asked / computed(random.Random(0).sample(rows, len(rows)), "padded") > 0.13
    assert share("packed") <= share("packed_by_group") < 0.6 * asked
