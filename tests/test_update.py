"""One update: the gradient is a property of the groups, not of how they are cut, laid out, padded or ordered."""

import math
import random
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from test_loss_variants import MAX_COMPLETION_TOKENS, SEQUENCE_OF_TOKENS, VARIANTS
from tiny import example, random_groups, tiny_policy
from tiny_models import add_low_rank, build
from transformers import PreTrainedModel

from srl.advantage import compute_advantages
from srl.compute_config import TrainerConfig
from srl.errors import SRLError
from srl.micro_batches import training_rows
from srl.packing.tree import pack
from srl.training_config import LossConfig, OptimizerConfig
from srl.types import Completion, ParsedCompletion, ParseStatus, Rollout, RolloutGroup
from srl.update import PolicyUpdater

SHARINGS = ("auto", "group", "off")


class RecordingSGD(torch.optim.SGD):
    """Keeps a copy of the (clipped) gradient of every update."""

    def __init__(self, parameters, lr=0.0):
        super().__init__(list(parameters), lr=lr)
        self.gradients = []

    def step(self, closure=None):
        self.gradients.append(torch.cat([p.grad.flatten().clone() for g in self.param_groups for p in g["params"]]))
        return super().step(closure)


def make_updater(
    model, *, parameters=None, trainer=None, reference=None, passes=1, learning_rate=1e-30, temperature=1.0, **loss
):
    """With plain SGD; returns it, too."""
    optimizer = RecordingSGD(parameters or model.parameters())
    updater = PolicyUpdater(
        model,
        optimizer,
        Accelerator(cpu=True),
        loss=LossConfig(**loss),
        optimization=OptimizerConfig(max_grad_norm=1e9, learning_rate=learning_rate, passes_per_batch=passes),
        trainer=trainer or TrainerConfig(),
        precision="float32",
        temperature=temperature,
        pad_token_id=0,
        reference=reference,
        max_completion_tokens=MAX_COMPLETION_TOKENS,
    )
    return updater, optimizer


def advantages_of(groups):
    return [compute_advantages(group.rewards) for group in groups]


def gradient(groups, *, budget=8192, sharing="auto", pad_token_id=0, passes=1, seed=0, checkpointing=False, **loss):
    model, _ = tiny_policy(seed)
    if checkpointing:
        model.gradient_checkpointing_enable()
    updater, optimizer = make_updater(
        model,
        trainer=TrainerConfig(max_tokens_per_micro_batch=budget, prefix_sharing=sharing),
        reference=tiny_policy(seed + 1)[0] if loss.get("beta") else None,
        passes=passes,
        **loss,
    )
    updater._pad_token_id = pad_token_id
    return optimizer.gradients, updater.update(groups, advantages_of(groups), 1)


def assert_same_gradient(one, other):
    assert one.norm() > 0.01  # not a comparison of zeros
    torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-6 * float(one.norm()))


def chains(num_trajectories=2, *, group_size=4, seed=0):
    """Three groups for each trajectory, whose prompts are longer and longer pieces of one context."""
    rng = random.Random(seed)

    def tokens(least, most):
        return tuple(rng.randrange(5, 200) for _ in range(rng.randint(least, most)))

    groups = []
    for _ in range(num_trajectories):
        context = tokens(70, 90)
        for length in (len(context), 50, 25):
            rollouts = tuple(
                Rollout(
                    completion=Completion(text="", token_ids=tokens(1, 20), finish_reason="stop"),
                    parsed=ParsedCompletion(status=ParseStatus.OK, monologue="", action="x"),
                    reward=rng.random(),
                )
                for _ in range(group_size)
            )
            prompt = (*context[:length], *tokens(2, 4))
            groups.append(RolloutGroup(example=example(len(groups)), prompt_token_ids=prompt, rollouts=rollouts))
    rng.shuffle(groups)
    return groups


def mixed_groups():
    """Trajectories, prompts of their own, and one prompt twice."""
    groups = [*chains(), *random_groups(2, 4)]
    return [*groups, replace(random_groups(1, 4, seed=5)[0], prompt_token_ids=groups[0].prompt_token_ids)]


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize(
    "loss",
    [
        {},
        {"beta": 0.1, "passes": 2},
        {"beta": 0.1, "divide_by": "tokens"},
        {"beta": 0.1, "divide_by": "constant"},
    ],
    ids=["plain", "two passes and KL", "tokens and KL", "constant and KL"],
)
def test_unchanged_by_layout_and_budget(sharing, loss):
    groups = mixed_groups()
    whole, metrics = gradient(groups, budget=10**6, sharing="off", **loss)
    assert metrics["update/num_micro_batches"] == 1
    for budget in (1, 60, 500, 10**6):
        other, other_metrics = gradient(groups, budget=budget, sharing=sharing, **loss)
        assert len(other) == len(whole) == loss.get("passes", 1)
        for one, two in zip(whole, other, strict=True):
            assert_same_gradient(one, two)
        for key in ("loss/policy", "loss/clip_rate", "loss/kl"):
            assert other_metrics.get(key) == pytest.approx(metrics.get(key), abs=1e-5)
        assert other_metrics["optimizer/grad_norm"] == pytest.approx(metrics["optimizer/grad_norm"], rel=1e-4)
        assert ("update/padding_rate" in other_metrics) == (sharing == "off")
        num_micro_batches = other_metrics["update/num_micro_batches"]
        assert num_micro_batches == {1: 36, 10**6: 1}.get(budget, num_micro_batches)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_unchanged_by_the_order_of_groups_and_the_padding_token(sharing):
    groups = mixed_groups()
    forward, _ = gradient(groups, sharing=sharing, budget=300)
    backward, _ = gradient(groups[::-1], sharing=sharing, budget=300)
    assert_same_gradient(forward[0], backward[0])
    other_padding, _ = gradient(groups, pad_token_id=7, sharing=sharing, budget=300)
    assert_same_gradient(forward[0], other_padding[0])


@pytest.mark.parametrize("sharing", ["auto", "off"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_unchanged_by_more_padding_on_either_side(side, sharing):
    """A much longer prompt (left padding for the others) or completion (right padding) of zero advantage is added.

    It contributes no gradient, and by enlarging N it scales the others' by a known factor.
    """
    groups = random_groups(2, 4)
    rows = training_rows(groups, advantages_of(groups))
    long = random_groups(1, 4, seed=9)[0]
    rollouts = tuple(
        type(r)(completion=type(r.completion)(
            text="", finish_reason="stop", token_ids=r.completion.token_ids * (8 if side == "right" else 1)
        ), parsed=r.parsed, reward=0.5)
        for r in long.rollouts
    )  # fmt: skip
    prompt = long.prompt_token_ids * (8 if side == "left" else 1)
    padding = type(long)(example=long.example, prompt_token_ids=prompt, rollouts=rollouts)
    plain, _ = gradient(groups, sharing=sharing)
    padded, _ = gradient([*groups, padding], sharing=sharing)
    assert_same_gradient(plain[0], padded[0] * (len(rows) + 4) / len(rows))


@pytest.mark.parametrize("sharing", SHARINGS)
def test_is_the_derivative_of_the_formula(sharing):
    """Against Eq. 1 written out again over single sequences, in float64 where it matters."""
    groups = random_groups(2, 3)
    model, _ = tiny_policy()
    loss = torch.zeros((), dtype=torch.float64)
    for group in groups:
        for rollout, advantage in zip(group.rollouts, compute_advantages(group.rewards), strict=True):
            logprobs = single(model, group, rollout)
            loss = loss - advantage * logprobs.mean() / 6
    loss.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert_same_gradient(expected, gradient(groups, sharing=sharing)[0][0])


def single(model, group, rollout, temperature=1.0):
    """[tokens] float64 log-probabilities of one completion."""
    ids = [*group.prompt_token_ids, *rollout.completion.token_ids]
    table = torch.log_softmax(model(torch.tensor([ids])).logits[0].double() / temperature, dim=-1)
    places = range(len(group.prompt_token_ids), len(ids))
    return torch.stack([table[place - 1, ids[place]] for place in places])


def with_logprobs(groups, model, temperature=1.0, noise=0.0, seed=0):
    """The groups as an engine gives them that sampled with ``model``, whose numbers are off by some noise."""
    torch.manual_seed(seed)
    told = []
    with torch.no_grad():
        for group in groups:
            rollouts = []
            for rollout in group.rollouts:
                logprobs = single(model, group, rollout, temperature)
                logprobs = logprobs + noise * torch.randn_like(logprobs)
                completion = replace(rollout.completion, logprobs=tuple(logprobs.tolist()))
                rollouts.append(replace(rollout, completion=completion))
            told.append(replace(group, rollouts=tuple(rollouts)))
    return told


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("sharing", ["auto", "off"])
def test_of_off_policy_groups_the_ratio_compares_with_the_rollouts_logprobs(sharing, passes):
    """Against the clipped objective written out, with ratios well off 1 in the stale groups and 1 in the others."""
    model, _ = tiny_policy()
    temperature, clip_low, clip_high = 0.7, 0.2, 0.28
    groups = with_logprobs(chains(1), model, temperature, noise=0.4)
    stale = [True, False, True]
    updater, optimizer = make_updater(
        model, trainer=TrainerConfig(prefix_sharing=sharing, max_tokens_per_micro_batch=150), passes=passes,
        temperature=temperature, clip_low=clip_low, clip_high=clip_high,
    )  # fmt: skip
    metrics = updater.update(groups, advantages_of(groups), 1, off_policy=stale)

    loss, num_clipped, num_tokens, drift, num_fresh = torch.zeros((), dtype=torch.float64), 0, 0, 0.0, 0
    for group, is_stale in zip(groups, stale, strict=True):
        for rollout, advantage in zip(group.rollouts, compute_advantages(group.rewards), strict=True):
            policy = single(model, group, rollout, temperature)
            said = torch.tensor(rollout.completion.logprobs, dtype=torch.float64)
            ratio = (policy - (said if is_stale else policy.detach())).exp()
            clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
            loss = loss - torch.minimum(ratio * advantage, clipped * advantage).mean() / 12
            num_clipped += int((clipped * advantage < ratio * advantage).sum())
            num_tokens += len(policy)
            if not is_stale:
                difference = (policy - said).detach()
                drift += float((difference.exp() - difference - 1).sum())
                num_fresh += len(policy)
    model.zero_grad()
    loss.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert len(optimizer.gradients) == passes
    for found in optimizer.gradients:
        assert_same_gradient(expected, found)
    assert num_clipped > 0
    assert metrics["loss/clip_rate"] == pytest.approx(num_clipped / num_tokens, abs=1e-6)
    assert metrics["loss/policy"] == pytest.approx(loss.item(), abs=1e-5)
    assert metrics["kl/rollout_policy"] == pytest.approx(drift / num_fresh, rel=1e-3)


@pytest.mark.parametrize("config", [*VARIANTS.values(), SEQUENCE_OF_TOKENS], ids=[*VARIANTS, "sequence of tokens"])
@pytest.mark.parametrize("sharing", ["auto", "off"])
def test_each_variant_is_the_derivative_of_its_formula_however_it_is_cut(config, sharing):
    """Written out over single sequences; the stale groups have ratios well off 1, the others 1."""
    model, _ = tiny_policy()
    config = replace(config, clip_high=min(config.clip_high, 0.2))  # so that CISPO's bound is met
    groups, stale = with_logprobs(chains(1), model, noise=0.4), [True, False, True]
    lengths = [len(rollout.completion.token_ids) for group in groups for rollout in group.rollouts]
    loss, num_clipped = torch.zeros((), dtype=torch.float64), 0
    for group, is_stale in zip(groups, stale, strict=True):
        for rollout, advantage in zip(group.rollouts, compute_advantages(group.rewards), strict=True):
            policy = single(model, group, rollout)
            old = torch.tensor(rollout.completion.logprobs).double() if is_stale else policy.detach()
            difference = policy - old
            if config.ratio == "sequence":
                difference = difference.mean().expand(len(policy))
            ratio = difference.exp()
            if config.surrogate == "cispo":
                terms = ratio.clamp(max=1 + config.clip_high).detach() * advantage * policy
                num_clipped += int((ratio > 1 + config.clip_high).sum())
            else:
                bounded = ratio.clamp(1 - config.clip_low, 1 + config.clip_high) * advantage
                terms = torch.minimum(ratio * advantage, bounded)
                num_clipped += int((bounded < ratio * advantage).sum())
            divisor = {
                "sequence": len(policy) * len(lengths),
                "tokens": sum(lengths),
                "constant": len(lengths) * MAX_COMPLETION_TOKENS,
            }
            loss = loss - terms.sum() / divisor[config.divide_by]
    loss.backward()
    expected = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    assert 0 < num_clipped < sum(lengths)
    for budget in (1, 150, 10**6):
        trainer = TrainerConfig(prefix_sharing=sharing, max_tokens_per_micro_batch=budget)
        updater, optimizer = make_updater(tiny_policy()[0], trainer=trainer, **vars(config))
        metrics = updater.update(groups, advantages_of(groups), 1, off_policy=stale)
        assert_same_gradient(expected, optimizer.gradients[0])
        assert metrics["loss/clip_rate"] == pytest.approx(num_clipped / sum(lengths), abs=1e-6)
        assert metrics["loss/policy"] == pytest.approx(loss.item(), abs=1e-5)


def test_a_constant_divisor_needs_the_limit():
    updater = PolicyUpdater(
        tiny_policy()[0], torch.optim.SGD([torch.zeros(1)]), Accelerator(cpu=True),
        loss=LossConfig(divide_by="constant"), optimization=OptimizerConfig(), trainer=TrainerConfig(),
        precision="float32", temperature=1.0, pad_token_id=0, reference=None,
    )  # fmt: skip
    groups = random_groups(1, 4)
    with pytest.raises(ValueError, match="needs max_completion_tokens"):
        updater.update(groups, advantages_of(groups), 1)


def test_off_policy_groups_without_logprobs_are_an_error_before_any_pass():
    model, _ = tiny_policy()
    updater, optimizer = make_updater(model)
    groups = random_groups(2, 4)
    one_says = [with_logprobs(groups[:1], model)[0], groups[1]]
    calls = count_calls(model)
    with pytest.raises(SRLError, match="max_staleness needs an engine that returns the log-probabilities"):
        updater.update(one_says, advantages_of(groups), 1, off_policy=[False, True])
    assert not optimizer.gradients
    assert not calls
    updater.update(one_says, advantages_of(groups), 1, off_policy=[True, False])  # the stale one does say
    assert len(optimizer.gradients) == 1


def test_the_drift_of_rollouts_is_zero_for_the_same_weights_only():
    model, _ = tiny_policy()
    groups = random_groups(3, 4)
    updater, _ = make_updater(model)
    same = with_logprobs(groups, model)
    assert updater.update(same, advantages_of(groups), 1)["kl/rollout_policy"] == pytest.approx(0, abs=1e-6)
    other = with_logprobs(groups, tiny_policy(3)[0])
    assert updater.update(other, advantages_of(groups), 1)["kl/rollout_policy"] > 1e-4
    assert "kl/rollout_policy" not in updater.update(groups, advantages_of(groups), 1)
    all_stale = updater.update(other, advantages_of(groups), 1, off_policy=[True] * 3)
    assert "kl/rollout_policy" not in all_stale


def test_what_an_engine_says_changes_no_gradient_on_policy():
    model, _ = tiny_policy()
    groups = random_groups(2, 4)
    expected = gradient(groups)[0][0]
    updater, optimizer = make_updater(model)
    updater.update(with_logprobs(groups, tiny_policy(3)[0]), advantages_of(groups), 1, off_policy=[False, False])
    assert_same_gradient(expected, optimizer.gradients[0])


def count_calls(model):
    """[whether gradients were on] of every forward pass from now on."""
    calls = []
    model.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    return calls


@pytest.mark.parametrize("sharing", ["auto", "off"])
@pytest.mark.parametrize(("passes", "beta"), [(1, 0.0), (1, 0.1), (2, 0.0), (3, 0.1)])
def test_fixed_logprobs_are_computed_only_when_needed(passes, beta, sharing):
    model, reference = tiny_policy()[0], tiny_policy(1)[0]
    updater, _ = make_updater(
        model, trainer=TrainerConfig(max_tokens_per_micro_batch=150, prefix_sharing=sharing), passes=passes, beta=beta,
        reference=reference if beta else None,
    )  # fmt: skip
    calls, reference_calls = count_calls(model), count_calls(reference)
    groups = with_logprobs(random_groups(3, 4), model)
    calls.clear()
    num = updater.update(groups, advantages_of(groups), 1, off_policy=[True, False, False])["update/num_micro_batches"]
    assert num > 1
    assert calls == [False] * (num if passes > 1 else 0) + [True] * num * passes
    assert reference_calls == [False] * (num if beta else 0)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_metrics_of_what_was_computed(sharing):
    groups = chains(1)
    rows = training_rows(groups, advantages_of(groups))
    asked = sum(row.num_tokens for row in rows)
    pairs = [(row.prompt_ids, row.completion_ids) for row in rows]
    computed = {
        "auto": pack(pairs).num_tokens,
        "group": pack(pairs, across_prompts=False).num_tokens,
        "off": 12 * (max(len(row.prompt_ids) for row in rows) + max(len(row.completion_ids) for row in rows)),
    }
    assert computed["auto"] < computed["group"] < asked < computed["off"]
    _, metrics = gradient(groups, budget=10**5, sharing=sharing, passes=2)
    assert metrics["update/num_micro_batches"] == 1
    assert metrics["update/computed_rate"] == pytest.approx(computed[sharing] / asked)
    padding = {"off": pytest.approx(1 - asked / computed["off"], abs=1e-6)}
    assert metrics.get("update/padding_rate") == padding.get(sharing)
    _, one_each = gradient(groups, budget=1, sharing=sharing)
    assert one_each["update/num_micro_batches"] == 12
    assert one_each["update/computed_rate"] == pytest.approx(1)
    assert one_each.get("update/padding_rate", 0.0) == pytest.approx(0)


class SizeWatch:
    """The tokens of every forward pass with a gradient."""

    def __init__(self, model: PreTrainedModel):
        self.sizes = []
        model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, module, args, kwargs):
        if torch.is_grad_enabled():
            self.sizes.append(kwargs["input_ids"].numel())


@pytest.mark.parametrize("sharing", SHARINGS)
def test_the_budget_holds_for_what_the_model_is_given_and_the_largest_comes_first(sharing):
    model, _ = tiny_policy()
    trainer = TrainerConfig(max_tokens_per_micro_batch=250, prefix_sharing=sharing)
    updater, _ = make_updater(model, trainer=trainer)
    groups = mixed_groups()
    watch = SizeWatch(model)
    metrics = updater.update(groups, advantages_of(groups), 1)
    assert max(watch.sizes) <= 250
    assert watch.sizes == sorted(watch.sizes, reverse=True)
    assert metrics["update/num_micro_batches"] == len(watch.sizes)
    asked = sum(row.num_tokens for row in training_rows(groups, advantages_of(groups)))
    assert metrics["update/computed_rate"] == pytest.approx(sum(watch.sizes) / asked)


@pytest.mark.parametrize("name", ["MistralForCausalLM", "Gemma3ForCausalLM", "Llama4ForCausalLM", "Gemma2ForCausalLM"])
def test_rows_beyond_a_window_and_models_that_cannot_share_use_padded_rows(name):
    """The window is 64 tokens; the gradient is that of padding whatever is asked for."""
    groups = random_groups(3, 4, vocab_size=90)
    rows = training_rows(groups, advantages_of(groups))
    within = [group for group in groups if all(len(group.prompt_token_ids) + 24 <= 64 for _ in group.rollouts)]
    beyond = [*within, replace(groups[0], prompt_token_ids=tuple(random.Random(1).choices(range(5, 90), k=60)))]
    assert max(row.num_tokens for row in rows) <= 64 < 60 + 20
    for chosen, packs in ((within, name != "Gemma2ForCausalLM"), (beyond, False)):
        found = []
        for sharing in ("auto", "off"):
            model = build(name)
            updater, optimizer = make_updater(
                model, trainer=TrainerConfig(prefix_sharing=sharing, max_tokens_per_micro_batch=400)
            )
            metrics = updater.update(chosen, advantages_of(chosen), 1)
            assert ("update/padding_rate" in metrics) == (sharing == "off" or not packs)
            found += optimizer.gradients
        assert_same_gradient(*found)


@pytest.mark.parametrize(("length", "packs"), [(64, True), (65, False)])
def test_a_row_as_long_as_the_window_is_packed_and_a_longer_one_is_not(length, packs):
    (group,) = random_groups(1, 4, vocab_size=90)
    longest = max(len(rollout.completion.token_ids) for rollout in group.rollouts)
    group = replace(group, prompt_token_ids=tuple(random.Random(1).choices(range(5, 90), k=length - longest)))
    found = []
    for sharing in ("auto", "off"):
        updater, optimizer = make_updater(build("MistralForCausalLM"), trainer=TrainerConfig(prefix_sharing=sharing))
        metrics = updater.update([group], advantages_of([group]), 1)
        assert ("update/padding_rate" in metrics) == (sharing == "off" or not packs)
        found += optimizer.gradients
    assert_same_gradient(*found)


def test_low_rank_terms_of_a_frozen_model():
    groups = random_groups(3, 4, vocab_size=90)
    found = []
    for sharing in SHARINGS:
        model = build("Qwen2ForCausalLM")
        torch.manual_seed(1)
        add_low_rank(model, ("q_proj", "v_proj"))
        frozen = {name: weight.clone() for name, weight in model.named_parameters() if not weight.requires_grad}
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        trainer = TrainerConfig(prefix_sharing=sharing, max_tokens_per_micro_batch=400)
        updater, optimizer = make_updater(model, parameters=trained, trainer=trainer, learning_rate=0.1)
        updater.update(groups, advantages_of(groups), 1)
        found += optimizer.gradients
        assert all(torch.equal(frozen.get(name, weight), weight) for name, weight in model.named_parameters())
    assert_same_gradient(found[0], found[1])
    assert_same_gradient(found[0], found[2])


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


@pytest.mark.parametrize("sharing", ["auto", "off"])
def test_a_second_pass_after_a_real_step_meets_ratios_off_1(sharing):
    groups = chains(1)
    model, _ = tiny_policy()
    start, _ = tiny_policy()
    updater, optimizer = make_updater(
        model, trainer=TrainerConfig(prefix_sharing=sharing, max_tokens_per_micro_batch=200), passes=2,
        learning_rate=0.3,
    )  # fmt: skip
    updater.update(groups, advantages_of(groups), 1)
    moved, _ = tiny_policy()
    with torch.no_grad():
        place = 0
        for weight in moved.parameters():
            weight -= 0.3 * optimizer.gradients[0][place : place + weight.numel()].view_as(weight)
            place += weight.numel()
    loss = torch.zeros((), dtype=torch.float64)
    largest = 0.0
    for group in groups:
        for rollout, advantage in zip(group.rollouts, compute_advantages(group.rewards), strict=True):
            ratio = (single(moved, group, rollout) - single(start, group, rollout).detach()).exp()
            largest = max(largest, float((ratio.detach() - 1).abs().max()))
            loss = loss - torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean() / 12
    assert largest > 0.01
    loss.backward()
    assert_same_gradient(torch.cat([weight.grad.flatten() for weight in moved.parameters()]), optimizer.gradients[1])


@pytest.mark.parametrize("sharing", SHARINGS)
def test_gradient_checkpointing_changes_nothing(sharing):
    groups = mixed_groups()
    plain, _ = gradient(groups, sharing=sharing, budget=400)
    recomputed, _ = gradient(groups, sharing=sharing, budget=400, checkpointing=True)
    assert_same_gradient(plain[0], recomputed[0])


def test_the_models_own_attention_is_back_after_an_update_and_after_an_error():
    model, reference = tiny_policy()[0], tiny_policy(1)[0]
    own = model.config._attn_implementation, reference.config._attn_implementation
    updater, _ = make_updater(model, beta=0.1, reference=reference)
    groups = random_groups(1, 4)
    updater.update(groups, advantages_of(groups), 1)
    assert (model.config._attn_implementation, reference.config._attn_implementation) == own
    before = [weight.clone() for weight in model.parameters()]
    with pytest.raises(SRLError, match="not finite"):
        updater.update(groups, [[math.inf, 0.0, 0.0, 0.0]], 2)
    assert (model.config._attn_implementation, reference.config._attn_implementation) == own
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


def test_learning_rate_warms_up_and_is_read_back():
    model, _ = tiny_policy()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    updater = PolicyUpdater(
        model, optimizer, Accelerator(cpu=True), loss=LossConfig(),
        optimization=OptimizerConfig(learning_rate=0.01, warmup_updates=4), trainer=TrainerConfig(),
        precision="bfloat16", temperature=1.0, pad_token_id=0, reference=None,
    )  # fmt: skip
    groups = random_groups(1, 4)
    rates = [
        updater.update(groups, [[1.0, -1.0, 0.5, -0.5]], update)["optimizer/learning_rate"] for update in (1, 2, 4, 9)
    ]
    assert rates == pytest.approx([0.0025, 0.005, 0.01, 0.01])
