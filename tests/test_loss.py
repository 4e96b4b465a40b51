"""The objective: by hand, by its derivative, and against TRL's on the same batch."""

import math

import pytest
import torch
from tiny import random_groups, tiny_policy

from srl.advantage import compute_advantages
from srl.logprobs import completion_logprobs, pad_batch
from srl.loss import policy_loss
from srl.update import training_rows

CLIP = {"clip_low": 0.2, "clip_high": 0.2}


def test_three_tokens_by_hand():
    """Two rollouts, of two tokens and of one.

    First, advantage +1: ratios 1.5 (clipped to 1.2) and 0.5 (the smaller term is the unclipped 0.5): mean 0.85.
    Second, advantage -1: ratio 0.5, min(-0.5, clip: -0.8) = -0.8.
    L = -(0.85 - 0.8) / 2 = -0.025; the clipped term was the smaller one at two tokens.
    """
    policy = torch.log(torch.tensor([[0.3, 0.1], [0.2, 0.9]]))
    old = torch.log(torch.tensor([[0.2, 0.2], [0.4, 0.1]]))
    mask = torch.tensor([[True, True], [True, False]])
    parts = policy_loss(policy, old, torch.tensor([1.0, -1.0]), mask, num_rollouts=2, **CLIP)
    assert parts.loss.item() == pytest.approx(-0.025, abs=1e-7)
    assert parts.num_clipped.item() == 2


def test_kl_by_hand():
    """Policy 0.5, reference 0.25: k3 = 0.25/0.5 - log(0.25/0.5) - 1."""
    policy, reference = torch.log(torch.tensor([[0.5]])), torch.log(torch.tensor([[0.25]]))
    parts = policy_loss(
        policy, policy, torch.tensor([0.0]), torch.tensor([[True]]), num_rollouts=1, beta=0.1,
        reference_logprobs=reference, **CLIP,
    )  # fmt: skip
    expected = 0.5 + math.log(2) - 1
    assert parts.kl_sum.item() == pytest.approx(expected, abs=1e-6)
    assert parts.loss.item() == pytest.approx(0.1 * expected, abs=1e-7)


def test_on_policy_the_gradient_is_the_policy_gradient():
    """At ratio 1 nothing is clipped and dL/dlogprob = -A / (|o| N), exactly."""
    logprobs = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    parts = policy_loss(logprobs, logprobs.detach(), torch.tensor([2.0, -4.0]), mask, num_rollouts=2, **CLIP)
    parts.loss.backward()
    expected = torch.tensor([[-1 / 3, -1 / 3, -1 / 3], [1.0, 1.0, 0.0]])
    torch.testing.assert_close(logprobs.grad, expected)
    assert parts.num_clipped.item() == 0


def test_gradient_against_finite_differences():
    torch.manual_seed(0)
    policy = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    old, reference = policy.detach() + 0.3 * torch.randn(3, 4), policy.detach() + 0.3 * torch.randn(3, 4)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    advantages = torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64)

    def loss(logprobs):
        return policy_loss(
            logprobs, old, advantages, mask, num_rollouts=3, beta=0.2, reference_logprobs=reference, **CLIP
        ).loss

    assert torch.autograd.gradcheck(loss, policy)


@pytest.fixture(scope="module")
def trl_trainer(tmp_path_factory):
    """TRL's own trainer around the tiny policy; ``_compute_loss`` is asked for its number on our batch."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    def build(beta: float):
        model, tokenizer = tiny_policy()
        arguments = trl.GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")), loss_type="grpo", num_generations=4,
            per_device_train_batch_size=4, use_cpu=True, bf16=False, report_to=[], temperature=0.7, epsilon=0.2,
            use_bias_correction_kl=False,  # Eq. 1 has none
        )  # fmt: skip
        built = trl.GRPOTrainer(
            model=model, processing_class=tokenizer, reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=arguments, train_dataset=Dataset.from_dict({"prompt": ["a", "b"]}),
        )  # fmt: skip
        built.current_gradient_accumulation_steps = 1
        built.beta = beta  # in the arguments it would make TRL load a reference by the policy's name
        return built, model

    return build


@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize("off_policy", [False, True])
def test_equals_trl_on_the_same_batch(trl_trainer, beta, off_policy):
    trainer, model = trl_trainer(beta)
    groups = random_groups(2, 4, seed=3)
    rows = training_rows(groups, [compute_advantages(group.rewards) for group in groups])
    batch = pad_batch([(row.prompt_ids, row.completion_ids) for row in rows], pad_token_id=0)
    advantages = torch.tensor([row.advantage for row in rows])
    torch.manual_seed(1)
    shape = tuple(batch.completion_mask.shape)
    logprobs = completion_logprobs(model, batch, temperature=0.7)
    old = logprobs.detach() + 0.4 * torch.randn(shape) if off_policy else logprobs.detach()
    reference = logprobs.detach() + 0.2 * torch.randn(shape)
    length = shape[1]
    theirs = trainer._compute_loss(
        model.train(),
        {
            "prompt_ids": batch.input_ids[:, :-length], "prompt_mask": batch.attention_mask[:, :-length],
            "completion_ids": batch.completion_ids, "completion_mask": batch.completion_mask.int(),
            "advantages": advantages, "old_per_token_logps": old, "ref_per_token_logps": reference,
            "num_items_in_batch": batch.completion_mask.sum(),
        },
    )  # fmt: skip
    ours = policy_loss(
        logprobs, old, advantages, batch.completion_mask, num_rollouts=len(rows), beta=beta,
        reference_logprobs=reference if beta else None, **CLIP,
    ).loss  # fmt: skip
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    assert off_policy is False or abs(ours.item()) > 1e-3  # the comparison is not one of zeros
