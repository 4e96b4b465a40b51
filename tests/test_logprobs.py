"""Log-probabilities of completions: against a loop over single sequences, whatever the padding."""

import pytest
import torch
from tiny import random_groups, tiny_policy

from srl.logprobs import completion_logprobs, pack_batch, packed_logprobs, pad_batch
from srl.micro_batches import training_rows
from srl.packing.attention import packed


def one_by_one(model, prompt, completion, temperature):
    """No padding, no batch, no logits_to_keep: the definition."""
    logits = model(torch.tensor([[*prompt, *completion]])).logits[0].double() / temperature
    table = torch.log_softmax(logits, dim=-1)
    return torch.stack([table[len(prompt) - 1 + t, token] for t, token in enumerate(completion)])


@pytest.mark.parametrize("with_head", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_against_one_sequence_at_a_time(temperature, with_head):
    model, _ = tiny_policy()
    rows = training_rows(random_groups(2, 3), [[0.0] * 3] * 2)
    pairs = [(row.prompt_ids, row.completion_ids) for row in rows]
    batch = pad_batch(pairs, pad_token_id=0)
    with torch.no_grad():
        head = model.lm_head if with_head else None
        logprobs = completion_logprobs(model, batch, temperature=temperature, head=head)
        for row, (prompt, completion) in enumerate(pairs):
            expected = one_by_one(model, prompt, completion, temperature)
            torch.testing.assert_close(logprobs[row, : len(completion)].double(), expected, atol=1e-5, rtol=0)
            assert batch.completion_mask[row].sum() == len(completion)
            assert tuple(batch.completion_ids[row, : len(completion)].tolist()) == completion
    assert logprobs.dtype == torch.float32


@pytest.mark.parametrize("with_head", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_packed_rows_against_one_sequence_at_a_time(temperature, with_head):
    model, _ = tiny_policy()
    rows = training_rows(random_groups(2, 3), [[0.0] * 3] * 2)
    pairs = [(row.prompt_ids, row.completion_ids) for row in rows]
    batch = pack_batch(pairs)
    with torch.no_grad(), packed(model):
        logprobs = packed_logprobs(model, batch, temperature=temperature, head=model.lm_head if with_head else None)
    with torch.no_grad():
        for row, (prompt, completion) in enumerate(pairs):
            expected = one_by_one(model, prompt, completion, temperature)
            torch.testing.assert_close(logprobs[row, : len(completion)].double(), expected, atol=1e-5, rtol=0)
            assert not logprobs[row, len(completion) :].any()
            assert batch.completion_mask[row].sum() == len(completion)
    assert logprobs.shape == batch.completion_mask.shape
    assert logprobs.dtype == torch.float32


def test_padding_stands_left_of_prompts_and_right_of_completions():
    batch = pad_batch([([5], [6, 7, 8]), ([9, 10, 11], [12])], pad_token_id=3)
    assert batch.input_ids.tolist() == [[3, 3, 5, 6, 7, 8], [9, 10, 11, 12, 3, 3]]
    assert batch.attention_mask.tolist() == [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]
    assert batch.completion_mask.tolist() == [[True] * 3, [True, False, False]]
    assert batch.completion_ids.tolist() == [[6, 7, 8], [12, 3, 3]]
