"""The named losses: by hand, by their derivatives, cut into micro-batches, and against TRL's on the same batch."""

import math
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_groups, tiny_policy

from srl.advantage import compute_advantages
from srl.config import StageConfig
from srl.data_config import DataConfig
from srl.logprobs import completion_logprobs, pad_batch
from srl.loss import Divisor, policy_loss
from srl.micro_batches import training_rows
from srl.training_config import LossConfig, OptimizerConfig, SamplingConfig

VARIANTS = {
    "grpo": LossConfig(),
    "dapo": LossConfig(divide_by="tokens", clip_high=0.28),
    "dr_grpo": LossConfig(divide_by="constant", scale_by_std=False),
    "gspo": LossConfig(ratio="sequence", clip_low=0.0003, clip_high=0.0004),
    "cispo": LossConfig(divide_by="tokens", surrogate="cispo", clip_high=4.0),
}
SEQUENCE_OF_TOKENS = LossConfig(divide_by="tokens", ratio="sequence", clip_low=0.05, clip_high=0.05)
MAX_COMPLETION_TOKENS = 40

# Two rollouts, of two tokens (advantage +1, ratios 1.5 and 0.5) and of one (advantage -1, ratio 0.5).
POLICY = torch.log(torch.tensor([[0.3, 0.1], [0.2, 0.9]]))
OLD = torch.log(torch.tensor([[0.2, 0.2], [0.4, 0.1]]))
MASK = torch.tensor([[True, True], [True, False]])
ADVANTAGES = torch.tensor([1.0, -1.0])


def loss_of(config, policy, old, advantages, mask, *, size=None, reference=None, max_tokens=MAX_COMPLETION_TOKENS):
    """``policy_loss`` with the settings of a recipe; ``size`` is (rollouts, tokens) of the update if it has more."""
    num_rollouts, num_tokens = size or (len(mask), int(mask.sum()))
    return policy_loss(
        policy, old, advantages, mask, clip_low=config.clip_low, clip_high=config.clip_high, ratio=config.ratio,
        surrogate=config.surrogate, beta=config.beta, reference_logprobs=reference,
        divisor=Divisor(
            by=config.divide_by, num_rollouts=num_rollouts, num_tokens=num_tokens, max_completion_tokens=max_tokens
        ),
    )  # fmt: skip


def by_hand(**choices):
    """(loss, clipped tokens, gradient) of the three tokens above."""
    policy = POLICY.clone().requires_grad_()
    parts = loss_of(LossConfig(**choices), policy, OLD, ADVANTAGES, MASK, max_tokens=10)
    parts.loss.backward()
    return parts.loss.item(), int(parts.num_clipped), policy.grad[MASK].tolist()


def test_what_is_divided_by_what():
    """The clipped terms are 1.2, 0.5 and -0.8; the unclipped 0.5 alone has a gradient."""
    loss, num_clipped, gradient = by_hand(divide_by="sequence")
    assert (loss, num_clipped) == (pytest.approx(-(1.7 / 2 - 0.8) / 2, abs=1e-6), 2)
    assert gradient == pytest.approx([0, -0.5 / 4, 0])
    loss, num_clipped, gradient = by_hand(divide_by="tokens")
    assert (loss, num_clipped) == (pytest.approx(-0.9 / 3), 2)
    assert gradient == pytest.approx([0, -0.5 / 3, 0])
    loss, num_clipped, gradient = by_hand(divide_by="constant")
    assert (loss, num_clipped) == (pytest.approx(-0.9 / (2 * 10)), 2)
    assert gradient == pytest.approx([0, -0.5 / 20, 0])


def test_the_upper_bound_may_be_higher():
    assert by_hand(clip_high=0.4)[0] == pytest.approx(-((1.4 + 0.5) / 2 - 0.8) / 2, abs=1e-6)
    assert by_hand(clip_high=0.6)[2][0] == pytest.approx(-1.5 / 4)  # no longer clipped
    assert by_hand(clip_low=0.6)[2][2] == pytest.approx(0.5 / 2)


def test_a_sequence_has_one_ratio():
    """The first has the geometric mean of 1.5 and 0.5, 0.866, and each of its tokens half of its gradient."""
    mean = math.sqrt(0.75)
    loss, num_clipped, gradient = by_hand(ratio="sequence")
    assert (loss, num_clipped) == (pytest.approx(-(mean - 0.8) / 2, abs=1e-6), 1)
    assert gradient == pytest.approx([-mean / 4, -mean / 4, 0])
    loss, num_clipped, gradient = by_hand(ratio="sequence", divide_by="tokens", clip_low=0.6)
    assert (loss, num_clipped) == (pytest.approx(-(2 * mean - 0.5) / 3, abs=1e-6), 0)
    assert gradient == pytest.approx([-mean / 3, -mean / 3, 0.5 / 3])


def test_all_tokens_of_a_clipped_sequence_count():
    flat = loss_of(LossConfig(ratio="sequence", clip_high=0.1), POLICY, POLICY - 0.2, ADVANTAGES, MASK)
    assert flat.num_clipped == 2  # ratio 1.22: the first has a positive advantage and two tokens


def test_no_token_falls_silent():
    """1.5 is cut to 1.2, 0.5 stays on either side: bounded above only; the weights have no gradient themselves."""
    loss, num_clipped, gradient = by_hand(surrogate="cispo", divide_by="tokens")
    expected = -(1.2 * math.log(0.3) + 0.5 * math.log(0.1) - 0.5 * math.log(0.2)) / 3
    assert (loss, num_clipped) == (pytest.approx(expected, abs=1e-6), 1)
    assert gradient == pytest.approx([-1.2 / 3, -0.5 / 3, 0.5 / 3])


def test_a_cut_weight_counts_whatever_the_sign_of_the_advantage_but_not_without_one():
    cispo = LossConfig(surrogate="cispo")
    counts = [
        loss_of(cispo, POLICY, POLICY - 1, torch.tensor(advantages), MASK).num_clipped.item()
        for advantages in ([1.0, -1.0], [0.0, -1.0], [0.0, 0.0])
    ]
    assert counts == [3, 1, 0]


@pytest.mark.parametrize("divide_by", ["sequence", "tokens", "constant"])
def test_the_kl_is_divided_as_the_rest_and_its_metric_is_not(divide_by):
    reference = POLICY - torch.tensor([[0.5, 0.1], [0.3, 9.0]])
    parts = loss_of(
        LossConfig(divide_by=divide_by, beta=0.1), POLICY, POLICY, torch.zeros(2), MASK, reference=reference
    )
    one, two, three = (math.exp(-gap) + gap - 1 for gap in (0.5, 0.1, 0.3))
    divided = {
        "sequence": ((one + two) / 2 + three) / 2,
        "tokens": (one + two + three) / 3,
        "constant": (one + two + three) / (2 * MAX_COMPLETION_TOKENS),
    }
    assert parts.loss.item() == pytest.approx(0.1 * divided[divide_by], abs=1e-7)
    assert parts.kl_sum.item() == pytest.approx((one + two) / 2 + three, abs=1e-6)


def random_batch(seed, *, num_rows=6, width=9, dtype=torch.float64):
    """(policy, old, advantages, mask, reference) of rows of different lengths, ratios well off 1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    policy = normal(num_rows, width) - 2
    lengths = torch.randint(1, width + 1, (num_rows,), generator=generator)
    mask = torch.arange(width)[None, :] < lengths[:, None]
    shape = (num_rows, width)
    return policy, policy + 0.5 * normal(*shape), normal(num_rows), mask, policy + 0.3 * normal(*shape)


@pytest.mark.parametrize("name", VARIANTS)
def test_on_policy_ratio_and_surrogate_change_no_gradient(name):
    policy, _, advantages, mask, _ = random_batch(0)
    gradients = []
    for config in (VARIANTS[name], LossConfig(divide_by=VARIANTS[name].divide_by)):
        logprobs = policy.clone().requires_grad_()
        parts = loss_of(config, logprobs, logprobs.detach(), advantages, mask)
        parts.loss.backward()
        gradients.append(logprobs.grad)
        assert parts.num_clipped == 0
    assert gradients[0].norm() > 0.01
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("config", [*VARIANTS.values(), SEQUENCE_OF_TOKENS], ids=[*VARIANTS, "sequence of tokens"])
def test_gradient_against_finite_differences(config):
    """The weight of CISPO is a constant by definition, so it is taken out of the function there."""
    policy, old, advantages, mask, reference = random_batch(1, num_rows=4, width=5)
    config = LossConfig(**{**vars(config), "beta": 0.2})
    weights = (policy - old).exp().clamp(max=1 + config.clip_high) * advantages[:, None]

    def loss(logprobs):
        if config.surrogate == "clip":
            return loss_of(config, logprobs, old, advantages, mask, reference=reference).loss
        kl = torch.exp(reference - logprobs) - (reference - logprobs) - 1
        return ((0.2 * kl - weights * logprobs) * mask).sum() / mask.sum()

    logprobs = policy.requires_grad_()
    assert torch.autograd.gradcheck(loss, logprobs)
    ours = loss_of(config, logprobs, old, advantages, mask, reference=reference).loss
    torch.testing.assert_close(*(torch.autograd.grad(value, logprobs)[0] for value in (ours, loss(logprobs))))


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([*VARIANTS.values(), SEQUENCE_OF_TOKENS]),
    st.integers(0, 10**6),
    st.lists(st.integers(1, 5), max_size=3),
)
def test_micro_batches_add_up_to_the_update(config, seed, cuts):
    policy, old, advantages, mask, reference = random_batch(seed)
    config = LossConfig(**{**vars(config), "beta": 0.1})
    policy.requires_grad_()
    whole = loss_of(config, policy, old, advantages, mask, reference=reference)
    (expected,) = torch.autograd.grad(whole.loss, policy)
    size = len(mask), int(mask.sum())
    bounds = [0, *sorted(set(cuts)), len(mask)]
    parts = [
        loss_of(
            config, policy[begin:end], old[begin:end], advantages[begin:end], mask[begin:end], size=size,
            reference=reference[begin:end],
        )
        for begin, end in pairwise(bounds)
    ]  # fmt: skip
    total = sum(part.loss for part in parts)
    torch.testing.assert_close(total, whole.loss)
    torch.testing.assert_close(torch.autograd.grad(total, policy)[0], expected)
    torch.testing.assert_close(sum(part.kl_sum for part in parts), whole.kl_sum)
    assert sum(int(part.num_clipped) for part in parts) == whole.num_clipped


@pytest.mark.parametrize("config", [*VARIANTS.values(), SEQUENCE_OF_TOKENS], ids=[*VARIANTS, "sequence of tokens"])
def test_what_stands_outside_the_mask_changes_nothing(config):
    policy, old, advantages, mask, reference = random_batch(2)
    config = LossConfig(**{**vars(config), "beta": 0.1})
    parts = [
        loss_of(config, *(torch.where(mask, values, fill) for values, fill in zip((policy, old), fills, strict=True)),
                advantages, mask, reference=torch.where(mask, reference, fills[0]))
        for fills in ((0.0, 0.0), (-30.0, 30.0), (30.0, -30.0))
    ]  # fmt: skip
    for other in parts[1:]:
        torch.testing.assert_close(other.loss, parts[0].loss)
        torch.testing.assert_close(other.kl_sum, parts[0].kl_sum)
        assert other.num_clipped == parts[0].num_clipped


def test_settings_that_do_not_fit():
    with pytest.raises(ValueError, match='clip_low has no effect with surrogate = "cispo"'):
        LossConfig(surrogate="cispo", clip_low=0.1)
    with pytest.raises(ValueError, match='needs ratio = "token"'):
        LossConfig(surrogate="cispo", ratio="sequence")
    with pytest.raises(ValueError, match="needs max_completion_tokens"):
        Divisor(by="constant", num_rollouts=1, num_tokens=1)


def test_the_settings_of_the_page_are_those_that_are_tested():
    page = (Path(__file__).parents[1] / "docs" / "methods" / "losses.md").read_text("utf-8")
    tables = [tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]
    stages = {name: stage for table in tables for name, stage in table["stages"].items()}
    assert {name: LossConfig(**stage["loss"]) for name, stage in stages.items()} == VARIANTS
    for stage in stages.values():  # each of them is a stage: no setting without effect
        StageConfig(
            kind="rlvr", data=DataConfig(train="none"), loss=LossConfig(**stage["loss"]),
            sampling=SamplingConfig(**stage.get("sampling", {})),
            optimizer=OptimizerConfig(**stage.get("optimizer", {})),
        )  # fmt: skip


@pytest.fixture(scope="module")
def trl_loss(tmp_path_factory):
    """Losses and gradient of TRL's own trainer around the tiny policy, asked micro-batch by micro-batch."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    def compute(inputs, *, loss_type, config, num_micro_batches):
        model, tokenizer = tiny_policy()
        arguments = trl.GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")), num_generations=4, per_device_train_batch_size=4,
            gradient_accumulation_steps=num_micro_batches, use_cpu=True, bf16=False, report_to=[], temperature=0.7,
            loss_type=loss_type, importance_sampling_level=config.ratio, epsilon=config.clip_low,
            # TRL bounds the weight of CISPO by the value itself, everything else by 1 + the value
            epsilon_high=config.clip_high + (config.surrogate == "cispo"),
            max_completion_length=MAX_COMPLETION_TOKENS,
            use_bias_correction_kl=False,  # Eq. 1 has none
        )  # fmt: skip
        trainer = trl.GRPOTrainer(
            model=model, processing_class=tokenizer, reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=arguments, train_dataset=Dataset.from_dict({"prompt": ["a", "b"]}),
        )  # fmt: skip
        trainer.beta = config.beta  # in the arguments it would make TRL load a reference by the policy's name
        trainer.current_gradient_accumulation_steps = num_micro_batches  # as its training loop sets it
        num_items = inputs["completion_mask"].sum()  # of the whole batch, as TRL's sampling gives it to each part
        loss = torch.zeros(())
        for part in zip(*(values.chunk(num_micro_batches) for values in inputs.values()), strict=True):
            batch = dict(zip(inputs, part, strict=True)) | {"num_items_in_batch": num_items}
            loss = loss + trainer._compute_loss(model.train(), batch)
        loss.backward()
        return loss.item(), gradient_of(model)

    return compute


def gradient_of(model):
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


TRL_CASES = {
    "grpo": ("grpo", LossConfig()),
    "dapo": ("dapo", VARIANTS["dapo"]),
    "dr_grpo": ("dr_grpo", VARIANTS["dr_grpo"]),
    "gspo": ("grpo", VARIANTS["gspo"]),
    "gspo, wider": ("grpo", LossConfig(ratio="sequence", clip_low=0.05, clip_high=0.05)),
    "cispo": ("cispo", LossConfig(divide_by="tokens", surrogate="cispo", clip_high=0.2)),
    "sequence ratio, token mean": ("dapo", SEQUENCE_OF_TOKENS),
    "sequence ratio, constant": ("dr_grpo", LossConfig(divide_by="constant", ratio="sequence", clip_high=0.05)),
    "bnpo": ("bnpo", LossConfig(divide_by="tokens")),
}


@pytest.mark.parametrize("case", TRL_CASES)
@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize(("off_policy", "num_micro_batches"), [(False, 1), (True, 1), (True, 2)])
def test_equals_trl_on_the_same_batch(trl_loss, case, beta, off_policy, num_micro_batches):
    loss_type, config = TRL_CASES[case]
    config = LossConfig(**{**vars(config), "beta": beta})
    groups = random_groups(2, 4, seed=3)
    rows = training_rows(
        groups, [compute_advantages(group.rewards, scale_by_std=config.scale_by_std) for group in groups]
    )
    batch = pad_batch([(row.prompt_ids, row.completion_ids) for row in rows], pad_token_id=0)
    advantages = torch.tensor([row.advantage for row in rows])
    model, _ = tiny_policy()
    torch.manual_seed(1)
    logprobs = completion_logprobs(model.train(), batch, temperature=0.7)
    length = logprobs.shape[1]
    old = logprobs.detach() + 0.4 * torch.randn(len(rows), length) if off_policy else logprobs.detach()
    reference = logprobs.detach() + 0.2 * torch.randn(len(rows), length)
    theirs, their_gradient = trl_loss(
        {
            "prompt_ids": batch.input_ids[:, :-length], "prompt_mask": batch.attention_mask[:, :-length],
            "completion_ids": batch.completion_ids, "completion_mask": batch.completion_mask.int(),
            "advantages": advantages, "old_per_token_logps": old, "ref_per_token_logps": reference,
        },
        loss_type=loss_type, config=config, num_micro_batches=num_micro_batches,
    )  # fmt: skip
    ours = loss_of(config, logprobs, old, advantages, batch.completion_mask, reference=reference if beta else None)
    ours.loss.backward()
    if case == "bnpo" and num_micro_batches > 1:  # TRL divides each micro-batch by its own tokens
        assert abs(ours.loss.item() - theirs) > 1e-3
        return
    assert ours.loss.item() == pytest.approx(theirs, abs=1e-6)
    assert their_gradient.norm() > 0.01
    torch.testing.assert_close(gradient_of(model), their_gradient, rtol=1e-4, atol=1e-6)
    if off_policy:  # the clipping bites, at some tokens and not at all
        assert 0 < ours.num_clipped < batch.completion_mask.sum()
        assert abs(ours.loss.item()) > 1e-4
