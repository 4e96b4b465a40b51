"""Log-probabilities of completions: against a loop over single sequences, whatever the padding."""

import pytest
import torch
from tiny import random_groups, tiny_policy

from srl.logprobs import completion_logprobs, pad_batch
from srl.update import training_rows


def one_by_one(model, prompt, completion, temperature):
    """No padding, no batch, no logits_to_keep: the definition."""
    logits = model(torch.tensor([[*prompt, *completion]])).logits[0].double() / temperature
    table = torch.log_softmax(logits, dim=-1)
    return torch.stack([table[len(prompt) - 1 + t, token] for t, token in enumerate(completion)])


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_against_one_sequence_at_a_time(temperature):
    model, _ = tiny_policy()
    rows = training_rows(random_groups(2, 3), [[0.0] * 3] * 2)
    pairs = [(row.prompt_ids, row.completion_ids) for row in rows]
    batch = pad_batch(pairs, pad_token_id=0)
    with torch.no_grad():
        logprobs = completion_logprobs(model, batch, temperature=temperature)
        for row, (prompt, completion) in enumerate(pairs):
            expected = one_by_one(model, prompt, completion, temperature)
            torch.testing.assert_close(logprobs[row, : len(completion)].double(), expected, atol=1e-5, rtol=0)
            assert batch.completion_mask[row].sum() == len(completion)
            assert tuple(batch.completion_ids[row, : len(completion)].tolist()) == completion
    assert logprobs.dtype == torch.float32
