"""examples/srl_in_one_file.py is the library's method: on the same rollouts the same numbers."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from test_engine_transformers import decode_greedily, peaked_policy
from test_parsing import STEP_CASES
from tiny import random_groups, tiny_policy
from transformers import GenerationConfig

from srl.advantage import compute_advantages, reward_std
from srl.completion_rewards import Scoring, score
from srl.compute_config import TrainerConfig
from srl.data_config import PromptConfig
from srl.dynamic_sampling import is_kept
from srl.engines.transformers import render
from srl.example_store import load_examples
from srl.examples import ExampleSettings
from srl.parsing import parse_step
from srl.prompts import step_prompt
from srl.reward_config import RewardConfig
from srl.rewards.similarity import similarity_reward
from srl.tasks.chains import make_problems
from srl.tasks.task import write_trajectories
from srl.tasks.texts import TASK_TEXTS
from srl.training_config import LossConfig, OptimizerConfig, SamplingConfig
from srl.trajectories.segment import split_steps
from srl.types import ChatPrompt, Completion, ParsedCompletion, ParseStatus, Rollout, RolloutGroup, TrainingExample
from srl.update import PolicyUpdater

FILE = Path(__file__).parents[1] / "examples" / "srl_in_one_file.py"


@pytest.fixture(scope="module")
def one_file():
    spec = importlib.util.spec_from_file_location("srl_in_one_file", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    write_trajectories(path, make_problems("train", 20, 0))
    return path


def test_it_is_one_short_file_without_the_library():
    text = FILE.read_text()
    assert len(text.splitlines()) <= 320
    assert not [line for line in text.splitlines() if line.startswith(("import srl", "from srl"))]


def test_settings_are_the_librarys(one_file):
    sampling, loss, reward, optimizer = SamplingConfig(), LossConfig(), RewardConfig(), OptimizerConfig()
    assert sampling.group_size == one_file.GROUP_SIZE
    assert sampling.temperature == one_file.TEMPERATURE
    assert (sampling.min_reward_std, sampling.max_draws) == (one_file.MIN_REWARD_STD, one_file.MAX_DRAWS)
    assert (loss.clip_low, loss.clip_high) == (one_file.CLIP_LOW, one_file.CLIP_HIGH)
    assert reward.format_penalty == one_file.FORMAT_PENALTY
    assert (optimizer.max_grad_norm, optimizer.weight_decay) == (one_file.MAX_GRAD_NORM, 0.0)
    assert PromptConfig().context_in == "user"


def test_steps_are_cut_as_the_library_cuts_them(one_file):
    for problem in make_problems("train", 50, 3, lengths=(1, 2, 5, 12)):
        assert one_file.split_steps(problem.solution) == [step.text.strip() for step in split_steps(problem.solution)]


def test_solutions_in_another_shape_are_dropped_and_counted(one_file, tmp_path, capsys):
    numbered = "1. **A** a\n\n2. **B** b\u2028c\n\n3. **C** c"
    texts = [numbered, "no steps", "1. **A** a\n\n3. **C** c", "1. **Alone** a", "Preamble\n\n" + numbered]
    path = tmp_path / "mixed.jsonl"
    rows = [json.dumps({"problem": "p", "solution": text}, ensure_ascii=False) + "\n" for text in texts]
    path.write_text("".join(rows), encoding="utf-8")
    examples = one_file.read_examples(path)
    assert [(item.context, item.target_action) for item in examples] == [
        ((), "1. **A** a"),
        (("1. **A** a",), "2. **B** b\u2028c"),
    ]
    assert "2 step examples; 4 solutions dropped" in capsys.readouterr().out
    path.write_text("".join(rows[1:]), encoding="utf-8")
    with pytest.raises(SystemExit, match="holds no solution"):
        one_file.read_examples(path)


def test_examples_and_prompts_are_the_librarys(one_file, data):
    _, tokenizer = tiny_policy()
    ours = load_examples(str(data), ExampleSettings()).store
    theirs = one_file.read_examples(data)
    assert len(ours) == len(theirs) > 70
    for our, their in zip(ours, theirs, strict=True):
        prompt = step_prompt(our, context_in="user", title_in_prompt=False, texts=TASK_TEXTS)
        assert one_file.render_prompt(their, tokenizer) == render(prompt, tokenizer)
        assert their.target_action == our.target_action


@pytest.mark.parametrize(("text", "finish", "status", "monologue", "action"), STEP_CASES)
def test_parsing_is_the_librarys(one_file, text, finish, status, monologue, action):
    parsed = one_file.parse_action(one_file.Completion(text, [1], finish == "stop"))
    assert parsed == (action if status is ParseStatus.OK else None)
    assert (parsed or "") == parse_step(text, finish).action


def scoring():
    reward = RewardConfig()
    return Scoring(
        parse=parse_step,
        reward=similarity_reward(autojunk=reward.autojunk, first_argument=reward.first_argument),
        format_penalty=reward.format_penalty,
    )


def random_text(rng, length):
    return "".join(rng.choice("abc 1=+\n") for _ in range(length))


def test_rewards_are_the_librarys(one_file):
    """Short and long texts (autojunk would begin at 200 characters), well-formed and not."""
    rng = random.Random(0)
    seen = set()
    for _ in range(500):
        target = random_text(rng, rng.choice([5, 80, 400])).strip() or "x"
        action = rng.choice([target, target[: rng.randrange(80)] + random_text(rng, 30), random_text(rng, 300), " "])
        text = rng.choice(["<think>a</think>", "<think>a</think>", "", "<think>"]) + action
        finish = rng.choice(["stop", "stop", "stop", "length"])
        example = TrainingExample(example_id="e", prompt=ChatPrompt(messages=()), target=target)
        (ours,) = score([(Completion(text=text, token_ids=(1,), finish_reason=finish), example)], scoring())
        assert one_file.score(one_file.Completion(text, [1], finish == "stop"), target) == ours.reward
        seen.add(ours.reward)
    assert -1.0 in seen
    assert 1.0 in seen
    assert len(seen) > 50


def in_both_forms(one_file, rewards, seed):
    """One group of random tokens with these rewards, as the library's record and as the file's."""
    raw = random_groups(1, len(rewards), seed=seed)[0]
    parsed = ParsedCompletion(status=ParseStatus.OK, monologue="", action="x")
    ours = RolloutGroup(
        example=raw.example,
        prompt_token_ids=raw.prompt_token_ids,
        rollouts=tuple(
            Rollout(completion=rollout.completion, parsed=parsed, reward=reward)
            for rollout, reward in zip(raw.rollouts, rewards, strict=True)
        ),
    )
    theirs = one_file.Group(
        one_file.StepExample("", (), ""),
        list(raw.prompt_token_ids),
        [one_file.Completion("", list(rollout.completion.token_ids), True) for rollout in raw.rollouts],
        list(rewards),
    )
    return ours, theirs


def test_kept_and_rejected_groups_and_advantages_are_the_librarys(one_file):
    rng = random.Random(1)
    decisions = []
    for case in range(300):
        spread = rng.choice([0.0, 0.005, 0.01, 0.02, 0.5])
        rewards = [rng.choice([-1.0, 0.8]) if case % 10 == 0 else 0.7 + spread * rng.random() for _ in range(8)]
        ours, theirs = in_both_forms(one_file, rewards, seed=case)
        assert one_file.is_kept(theirs) == is_kept(ours, SamplingConfig().min_reward_std)
        decisions.append(one_file.is_kept(theirs))
        if reward_std(rewards) > 0:
            assert one_file.compute_advantages(rewards) == pytest.approx(compute_advantages(rewards), abs=1e-6)
    assert True in decisions
    assert False in decisions


def test_loss_gradient_and_step_are_the_librarys(one_file):
    """A whole update, clipping of the gradient and AdamW included, on the same groups."""
    rng = random.Random(2)
    pairs = [in_both_forms(one_file, [rng.random() for _ in range(8)], seed) for seed in range(3)]
    gradients, weights, values = [], [], []
    for side in (0, 1):
        model, _ = tiny_policy()
        optimizer = torch.optim.AdamW(model.parameters(), lr=one_file.LEARNING_RATE, weight_decay=0.0)
        seen: list[torch.Tensor] = []

        def keep_gradient(*_, seen=seen, model=model):
            seen.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))

        optimizer.register_step_pre_hook(keep_gradient)
        groups = [pair[side] for pair in pairs]
        if side == 0:
            updater = PolicyUpdater(
                model, optimizer, Accelerator(cpu=True), loss=LossConfig(),
                optimization=OptimizerConfig(learning_rate=one_file.LEARNING_RATE),
                trainer=TrainerConfig(max_tokens_per_micro_batch=200),
                precision="float32", temperature=1.0, pad_token_id=0, reference=None,
            )  # fmt: skip
            metrics = updater.update(groups, [compute_advantages(group.rewards) for group in groups], 1)
            values.append((metrics["loss/policy"], metrics["optimizer/grad_norm"]))
        else:
            with torch.no_grad():
                loss = sum(one_file.group_loss(model, group).item() for group in groups) / len(groups)
            values.append((loss, one_file.update_policy(model, optimizer, groups)))
        gradients += seen
        weights.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    assert values[1] == pytest.approx(values[0], rel=1e-4, abs=1e-6)
    assert values[0][1] > one_file.MAX_GRAD_NORM / 10
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6 * float(gradients[0].norm()))
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-6)


def test_what_is_sampled_is_what_is_trained_on(one_file, data):
    """Prompts of different lengths lose their padding, completions end where the policy ended them."""
    model, tokenizer = tiny_policy()
    examples = one_file.read_examples(data)[:6]
    torch.manual_seed(0)
    groups = one_file.roll_out(model, tokenizer, examples)
    assert [group.example for group in groups] == examples
    lengths = set()
    for group in groups:
        prompt = one_file.render_prompt(group.example, tokenizer)
        assert group.prompt_ids == tokenizer(prompt, add_special_tokens=False)["input_ids"]
        assert len(group.completions) == len(group.rewards) == one_file.GROUP_SIZE
        for completion in group.completions:
            lengths.add(len(completion.token_ids))
            assert completion.is_finished == (completion.token_ids[-1] == tokenizer.eos_token_id)
            assert tokenizer.eos_token_id not in completion.token_ids[:-1]
    assert len({len(group.prompt_ids) for group in groups}) > 1
    assert len(lengths) > 1
    assert max(lengths) <= one_file.MAX_COMPLETION_TOKENS


def test_sampling_is_from_the_policy_and_nothing_else(one_file, data, monkeypatch):
    """Next to temperature 0 that is the argmax loop, whatever the padding and the checkpoint's own settings."""
    model, tokenizer = peaked_policy()
    model.generation_config = GenerationConfig(repetition_penalty=5.0, top_k=1, max_new_tokens=1)
    monkeypatch.setattr(one_file, "TEMPERATURE", 1e-4)
    monkeypatch.setattr(one_file, "MAX_COMPLETION_TOKENS", 8)
    for group in one_file.roll_out(model, tokenizer, one_file.read_examples(data)[:5]):
        expected = decode_greedily(model, group.prompt_ids, {tokenizer.eos_token_id}, 8)
        assert [completion.token_ids for completion in group.completions] == [expected] * one_file.GROUP_SIZE


@pytest.fixture
def spoken_format(one_file, monkeypatch):
    """The tiny policy cannot write the format; what it writes is taken for the action."""
    monkeypatch.setattr(one_file, "parse_action", lambda completion: completion.text)
    monkeypatch.setattr(one_file, "MAX_COMPLETION_TOKENS", 8)


@pytest.mark.usefixtures("spoken_format")
def test_two_updates_end_to_end(one_file, data, capsys):
    moved = []
    for _ in range(2):
        model, tokenizer = tiny_policy()
        start = torch.cat([weight.detach().flatten().clone() for weight in model.parameters()])
        one_file.train(model, tokenizer, one_file.read_examples(data), num_updates=2, num_groups=3, seed=5)
        moved.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]) - start)
    assert moved[0].abs().max() > 0
    assert torch.equal(moved[0], moved[1])  # the same seed, the same run
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("update")]
    assert [line.split()[1] for line in lines] == ["1", "2", "1", "2"]
    assert all("kept 3 of" in line for line in lines)


@pytest.mark.usefixtures("spoken_format")
def test_refilling_is_bounded(one_file, data, monkeypatch):
    monkeypatch.setattr(one_file, "MAX_DRAWS", 2)
    model, tokenizer = tiny_policy()
    stream = one_file.shuffled_for_ever(one_file.read_examples(data), random.Random(0))
    kept, rejected = one_file.collect_groups(model, tokenizer, stream, 2)
    assert len(kept) <= 2
    assert len(kept) + len(rejected) <= 4
    monkeypatch.setattr(one_file, "parse_action", lambda completion: None)
    with pytest.raises(SystemExit, match="no group"):
        one_file.collect_groups(model, tokenizer, stream, 2)


def test_command_line(one_file, data, tmp_path, monkeypatch, capsys):
    """From a model folder and a data file; a policy of random weights ends with the message that says why."""
    model, tokenizer = tiny_policy()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(one_file, "MAX_COMPLETION_TOKENS", 4)
    monkeypatch.setattr(sys, "argv", ["srl", str(tmp_path / "model"), str(data), "--updates", "1", "--groups", "1"])
    with pytest.raises(SystemExit, match="breaks the format"):
        one_file.main()
    assert "step examples; 0 solutions dropped" in capsys.readouterr().out
