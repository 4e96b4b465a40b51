"""One update: the gradient is a property of the groups, not of how they are cut, padded or ordered."""

import pytest
import torch
from accelerate import Accelerator
from tiny import random_groups, tiny_policy

from srl.advantage import compute_advantages
from srl.config import LossConfig, OptimizerConfig
from srl.update import PolicyUpdater, training_rows


class RecordingSGD(torch.optim.SGD):
    """Keeps a copy of the (clipped) gradient of every update."""

    def __init__(self, parameters):
        super().__init__(list(parameters), lr=0.0)
        self.gradients = []

    def step(self, closure=None):
        self.gradients.append(torch.cat([p.grad.flatten().clone() for g in self.param_groups for p in g["params"]]))
        return super().step(closure)


def gradient(groups, *, micro_batch_size=4, pad_token_id=0, passes=1, seed=0, checkpointing=False, **loss):
    model, _ = tiny_policy(seed)
    if checkpointing:
        model.gradient_checkpointing_enable()
    optimizer = RecordingSGD(model.parameters())
    updater = PolicyUpdater(
        model,
        optimizer,
        Accelerator(cpu=True),
        loss=LossConfig(**loss),
        optimization=OptimizerConfig(
            micro_batch_size=micro_batch_size, max_grad_norm=1e9, learning_rate=1e-30, passes_per_batch=passes
        ),
        precision="float32",
        temperature=1.0,
        pad_token_id=pad_token_id,
        reference=tiny_policy(seed + 1)[0] if loss.get("beta") else None,
    )
    metrics = updater.update(groups, [compute_advantages(group.rewards) for group in groups], 1)
    return optimizer.gradients, metrics


def assert_same_gradient(one, other):
    assert one.norm() > 0.01  # not a comparison of zeros
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6 * float(one.norm()))


def test_unchanged_by_micro_batch_size():
    groups = random_groups(3, 4)
    whole, metrics = gradient(groups, micro_batch_size=12)
    for size in (1, 2, 5):
        cut, cut_metrics = gradient(groups, micro_batch_size=size)
        assert_same_gradient(whole[0], cut[0])
        assert cut_metrics["loss/policy"] == pytest.approx(metrics["loss/policy"], abs=1e-6)
        assert cut_metrics["optimizer/grad_norm"] == pytest.approx(metrics["optimizer/grad_norm"], rel=1e-4)


def test_unchanged_by_the_order_of_groups_and_the_padding_token():
    groups = random_groups(3, 4)
    forward, _ = gradient(groups)
    backward, _ = gradient(groups[::-1])
    assert_same_gradient(forward[0], backward[0])
    other_padding, _ = gradient(groups, pad_token_id=7)
    assert_same_gradient(forward[0], other_padding[0])


@pytest.mark.parametrize("side", ["left", "right"])
def test_unchanged_by_more_padding_on_either_side(side, monkeypatch):
    """A much longer prompt (left padding for the others) or completion (right padding) of zero advantage is added.

    It contributes no gradient, and by enlarging N it scales the others' by a known factor.
    """
    groups = random_groups(2, 4)
    rows = training_rows(groups, [compute_advantages(group.rewards) for group in groups])
    long = random_groups(1, 4, seed=9)[0]
    rollouts = tuple(
        type(r)(completion=type(r.completion)(
            text="", finish_reason="stop", token_ids=r.completion.token_ids * (8 if side == "right" else 1)
        ), parsed=r.parsed, reward=0.5)
        for r in long.rollouts
    )  # fmt: skip
    prompt = long.prompt_token_ids * (8 if side == "left" else 1)
    padding = type(long)(example=long.example, prompt_token_ids=prompt, rollouts=rollouts)
    plain, _ = gradient(groups, micro_batch_size=8)
    padded, _ = gradient([*groups, padding], micro_batch_size=12)
    assert_same_gradient(plain[0], padded[0] * (len(rows) + 4) / len(rows))


def test_is_the_derivative_of_the_formula():
    """Against Eq. 1 written out again over single sequences, in float64 where it matters."""
    groups = random_groups(2, 3)
    model, _ = tiny_policy()
    loss = torch.zeros((), dtype=torch.float64)
    for group in groups:
        for rollout, advantage in zip(group.rollouts, compute_advantages(group.rewards), strict=True):
            ids = [*group.prompt_token_ids, *rollout.completion.token_ids]
            table = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)
            n = len(rollout.completion.token_ids)
            loss = loss - advantage * sum(table[len(ids) - n + t - 1, ids[len(ids) - n + t]] for t in range(n)) / n / 6
    loss.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert_same_gradient(expected, gradient(groups)[0][0])


def test_several_passes_keep_the_old_logprobs_and_the_kl_is_measured():
    groups = random_groups(2, 4)
    gradients, metrics = gradient(groups, passes=2, beta=0.1)
    assert len(gradients) == 2
    # The learning rate is as good as zero, so the second pass meets ratio 1 again and the same gradient.
    assert_same_gradient(gradients[0], gradients[1])
    assert metrics["loss/clip_rate"] == 0.0
    assert metrics["loss/kl"] > 0
    without, _ = gradient(groups)
    assert not torch.allclose(without[0], gradients[0])


def test_gradient_checkpointing_changes_nothing():
    groups = random_groups(2, 4)
    plain, _ = gradient(groups)
    recomputed, _ = gradient(groups, checkpointing=True)
    assert_same_gradient(plain[0], recomputed[0])


def test_learning_rate_warms_up_and_is_read_back():
    model, _ = tiny_policy()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    updater = PolicyUpdater(
        model, optimizer, Accelerator(cpu=True), loss=LossConfig(),
        optimization=OptimizerConfig(learning_rate=0.01, warmup_updates=4), precision="bfloat16",
        temperature=1.0, pad_token_id=0, reference=None,
    )  # fmt: skip
    groups = random_groups(1, 4)
    rates = [
        updater.update(groups, [[1.0, -1.0, 0.5, -0.5]], update)["optimizer/learning_rate"] for update in (1, 2, 4, 9)
    ]
    assert rates == pytest.approx([0.0025, 0.005, 0.01, 0.01])
