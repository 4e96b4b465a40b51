r"""Supervised Reinforcement Learning in one file, to be read from top to bottom beside the paper (arXiv 2510.25992).

PyTorch, transformers and cydifflib are all it needs. Numbers of sections, tables and equations are the paper's.

Left out on purpose, all of it in the package ``srl``: several processes; checkpoints and resuming; validation and the
choice of the best checkpoint; the KL term (the paper's weight for it is 0); several passes over one batch; batches that
mix groups; solutions in any other shape than ``1. **Title** text``; and most of the checking.

    srl quickstart    # writes a small base model and expert solutions, among other things
    python examples/srl_in_one_file.py runs/quickstart-data/base runs/quickstart-data/train.jsonl

The constants below fit that base: 0.9 million parameters, a minute or two on a CPU. For a model that follows
instructions write a real STEP_SYSTEM (B.2.1), allow some 2,000 completion tokens and take the paper's batch of 512
groups and learning rate of 5e-7.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from cydifflib import SequenceMatcher  # difflib's own gives the same numbers, only slower
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

STEP_SYSTEM = "next"  # the system message; the small base was pre-trained with this one
GROUP_SIZE = 8  # G, rollouts per prompt (Table 7)
TEMPERATURE = 1.0
MAX_COMPLETION_TOKENS = 64
FORMAT_PENALTY = -1.0
MIN_REWARD_STD = 0.01  # dynamic sampling: a group must be above it
MAX_DRAWS = 8  # dynamic sampling: at most this many times the wanted number of prompts for one update
CLIP_LOW = CLIP_HIGH = 0.2
LEARNING_RATE = 5e-4
MAX_GRAD_NORM = 1.0


# ---- 1. Data: a solution of N steps becomes N - 1 examples (4.2, Fig. 3) ---------------------------------------------


@dataclass(frozen=True)
class StepExample:
    """Predict one expert step from the problem and the steps before it."""

    problem: str
    context: tuple[str, ...]
    target_action: str


def split_steps(solution: str) -> list[str]:
    r"""Cut at ``1. **Title**``, ``2. **Title**``, ...; [] if the numbers do not run 1, 2, 3, ... from the beginning.

    >>> split_steps("1. **Add** 2+3=5.\n\n2. **Double** 2*5=10.")
    ['1. **Add** 2+3=5.', '2. **Double** 2*5=10.']
    """
    steps = [step.strip() for step in re.split(r"^(?=\d+\. \*\*.+\*\*)", solution, flags=re.MULTILINE) if step.strip()]
    in_sequence = all(step.startswith(f"{number}. **") for number, step in enumerate(steps, start=1))
    return steps if in_sequence else []


def read_examples(path: Path) -> list[StepExample]:
    """The examples of a JSON Lines file with the keys "problem" and "solution"."""
    examples: list[StepExample] = []
    num_dropped = 0
    for line in filter(None, path.read_text(encoding="utf-8").split("\n")):
        row = json.loads(line)
        steps = split_steps(row["solution"])
        if len(steps) < 2:
            num_dropped += 1  # not in the numbered shape; never lose data without saying so
            continue
        # The last step is not trained on: it only restates the answer. Hence N - 1 examples of N steps.
        examples += [StepExample(row["problem"], tuple(steps[:index]), steps[index]) for index in range(len(steps) - 1)]
    if not examples:
        raise SystemExit(f"{path} holds no solution of at least two numbered and titled steps")
    print(f"{path}: {len(examples)} step examples; {num_dropped} solutions dropped")
    return examples


def shuffled_for_ever(examples: Sequence[StepExample], rng: random.Random) -> Iterator[StepExample]:
    """Epoch after epoch, each in another order."""
    while True:
        yield from rng.sample(examples, len(examples))


# ---- 2. Rollouts: G completions of each prompt -----------------------------------------------------------------------


@dataclass(frozen=True)
class Completion:
    """What the policy wrote."""

    text: str
    token_ids: list[int]  # with the end-of-turn token, if the policy came to its end
    is_finished: bool


@dataclass(frozen=True)
class Group:
    """The G rollouts of one prompt."""

    example: StepExample
    prompt_ids: list[int]
    completions: list[Completion]
    rewards: list[float]


def render_prompt(example: StepExample, tokenizer: PreTrainedTokenizerBase) -> str:
    """Problem and earlier steps are the user's turn; the assistant's is open, for the policy to think and act."""
    messages = [
        {"role": "system", "content": STEP_SYSTEM},
        {"role": "user", "content": "\n\n".join((example.problem, *example.context))},
    ]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


@torch.no_grad()
def roll_out(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Sequence[StepExample]
) -> list[Group]:
    """Sample and score G completions for each example."""
    # Left padding: all completions of the batch begin in the same column. The template wrote the special tokens.
    texts = [render_prompt(example, tokenizer) for example in examples]
    prompts = tokenizer(texts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt")
    # A checkpoint's own sampling settings (Qwen2.5 ships top_k = 20 and a repetition penalty) would change the
    # distribution that the loss believes was sampled from: it has to be softmax(logits / TEMPERATURE) and no other.
    policy.generation_config = GenerationConfig()
    output = policy.generate(
        **prompts.to(policy.device),
        do_sample=True,
        temperature=TEMPERATURE,
        top_k=0,
        top_p=1.0,
        num_return_sequences=GROUP_SIZE,
        max_new_tokens=MAX_COMPLETION_TOKENS,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    sampled = iter(output[:, prompts["input_ids"].shape[1] :].tolist())
    groups: list[Group] = []
    for example, ids, mask in zip(examples, prompts["input_ids"], prompts["attention_mask"], strict=True):
        completions = [cut_completion(next(sampled), tokenizer) for _ in range(GROUP_SIZE)]
        rewards = [score(completion, example.target_action) for completion in completions]
        groups.append(Group(example, ids[mask.bool()].tolist(), completions, rewards))
    return groups


def cut_completion(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> Completion:
    """Up to and with the first end-of-turn token: what stands behind it is padding."""
    is_finished = tokenizer.eos_token_id in ids
    token_ids = ids[: ids.index(tokenizer.eos_token_id) + 1] if is_finished else ids
    return Completion(str(tokenizer.decode(token_ids, skip_special_tokens=True)), token_ids, is_finished)


# ---- 3. Reward: how similar the action is to the expert's; the monologue is never scored (4.2) -----------------------


def parse_action(completion: Completion) -> str | None:
    """The text after one leading ``<think>...</think>``, or None if the format is broken.

    A completion cut by the token limit is broken, whatever it holds: nobody knows what it would have become.
    """
    match = re.fullmatch(r"\s*<think>(.*?)</think>(.*)", completion.text, re.DOTALL)
    if not completion.is_finished or match is None:
        return None
    if any(re.search("</?think>", part) for part in match.groups()):
        return None  # a second block: unclear which text is the action
    return match.group(2).strip() or None


def score(completion: Completion, target_action: str) -> float:
    """Similarity 2 M / T of a well-formed completion's action to the expert's; else the penalty.

    T is the number of characters of both texts, M that of the matching blocks. autojunk is off: by default difflib
    ignores, in texts of 200 characters and more, every character that is frequent, and the formula does not.
    """
    action = parse_action(completion)
    if action is None:
        return FORMAT_PENALTY
    return SequenceMatcher(None, action, target_action, autojunk=False).ratio()


# ---- 4. Dynamic sampling: train on groups whose rewards differ, and refill (4.2) -------------------------------------


def is_kept(group: Group) -> bool:
    """Whether there is something to learn from the group: equal rewards have no advantages.

    Not a test for inequality: a std of 1e-17, which is what rounding may leave of equal rewards, would pass it, and
    the advantages are divided by the std.
    """
    return statistics.pstdev(group.rewards) > MIN_REWARD_STD


def collect_groups(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stream: Iterator[StepExample], num_groups: int
) -> tuple[list[Group], list[Group]]:
    """(kept, rejected): draw prompts until ``num_groups`` groups are kept or the cap is reached."""
    kept: list[Group] = []
    rejected: list[Group] = []
    while len(kept) < num_groups and len(kept) + len(rejected) < MAX_DRAWS * num_groups:
        # Never more than are missing: surplus groups would be an older policy's by the next update.
        examples = list(itertools.islice(stream, num_groups - len(kept)))
        for group in roll_out(policy, tokenizer, examples):
            (kept if is_kept(group) else rejected).append(group)
    if not kept:
        raise SystemExit("no group has rewards that differ: the policy breaks the format, or the data is too easy")
    return kept, rejected


# ---- 5. Advantages and loss (Eq. 1) ----------------------------------------------------------------------------------


def compute_advantages(rewards: Sequence[float]) -> list[float]:
    """A_i = (r_i - mean(r)) / std(r) over the group."""
    mean, std = statistics.fmean(rewards), statistics.pstdev(rewards)
    return [(reward - mean) / (std + 1e-6) for reward in rewards]


def completion_logprobs(policy: PreTrainedModel, prompt_ids: list[int], completions: list[Completion]) -> Tensor:
    """[G, completion] log-probabilities of the sampled tokens; columns behind a completion's end mean nothing.

    The rollouts of a group share their prompt, so padding is needed on the right only, where a causal model cannot
    see it: no attention mask and no position ids have to be made.
    """
    ids = pad_sequence([torch.tensor(prompt_ids + item.token_ids) for item in completions], batch_first=True)
    ids = ids.to(policy.device)  # [G, prompt + completion]
    # The logits of a column predict the next column. float32: a log-softmax in bfloat16 is noise.
    logits = policy(input_ids=ids, use_cache=False).logits[:, len(prompt_ids) - 1 : -1].float() / TEMPERATURE
    sampled = ids[:, len(prompt_ids) :].unsqueeze(-1)
    return logits.log_softmax(dim=-1).gather(-1, sampled).squeeze(-1)


def group_loss(policy: PreTrainedModel, group: Group) -> Tensor:
    """-1/G sum_i 1/|o_i| sum_t min(rho A_i, clip(rho, 1 - CLIP_LOW, 1 + CLIP_HIGH) A_i), differentiable."""
    logprobs = completion_logprobs(policy, group.prompt_ids, group.completions)
    # One pass per batch: the policy that sampled is the policy that is trained, so the ratio is 1. Its gradient is not
    # 0, and the clipping would come to life with a second pass.
    ratio = torch.exp(logprobs - logprobs.detach())
    advantages = torch.tensor(compute_advantages(group.rewards), device=logprobs.device).unsqueeze(1)  # [G, 1]
    objective = torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH) * advantages)
    lengths = torch.tensor([len(item.token_ids) for item in group.completions], device=logprobs.device)  # [G]
    mask = torch.arange(logprobs.shape[1], device=logprobs.device) < lengths.unsqueeze(1)  # [G, completion]
    sequence_means = (objective * mask).sum(dim=1) / lengths  # every completion counts the same, long or short
    return -sequence_means.mean()


# ---- 6. The loop -----------------------------------------------------------------------------------------------------


def update_policy(policy: PreTrainedModel, optimizer: torch.optim.Optimizer, groups: Sequence[Group]) -> float:
    """One optimizer step on the mean of the groups' losses; returns the norm of the gradient."""
    optimizer.zero_grad()
    for group in groups:  # one at a time: the gradients add up, the memory does not
        (group_loss(policy, group) / len(groups)).backward()
    norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), MAX_GRAD_NORM)
    optimizer.step()
    return norm.item()


def train(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[StepExample],
    *,
    num_updates: int,
    num_groups: int,
    seed: int,
) -> None:
    """SRL: changes ``policy`` in place, prints a line per update."""
    torch.manual_seed(seed)  # the sampling
    stream = shuffled_for_ever(examples, random.Random(seed))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    for update in range(1, num_updates + 1):
        started = time.perf_counter()
        kept, rejected = collect_groups(policy, tokenizer, stream, num_groups)
        norm = update_policy(policy, optimizer, kept)
        # The value of the loss is about 0 by construction, because the advantages of a group add up to 0. What tells
        # whether SRL works is the reward, over all groups: that of the kept ones alone is of a selection.
        rewards = [reward for group in kept + rejected for reward in group.rewards]
        print(
            f"update {update:3d}  reward {statistics.fmean(rewards):.3f}  "
            f"exact {rewards.count(1.0) / len(rewards):.3f}  "
            f"format errors {rewards.count(FORMAT_PENALTY) / len(rewards):.3f}  "
            f"kept {len(kept)} of {len(kept) + len(rejected)}  grad norm {norm:.3f}  "
            f"{time.perf_counter() - started:.1f} s",
            flush=True,
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Supervised Reinforcement Learning in one file.")
    parser.add_argument("model", help="folder of a causal language model with a chat template")
    parser.add_argument("data", type=Path, help='JSON Lines file with the keys "problem" and "solution"')
    parser.add_argument("--updates", type=int, default=15)
    parser.add_argument("--groups", type=int, default=16, help="kept groups per update")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    # float32 weights: at the paper's learning rate a bfloat16 weight would not move. The model comes in evaluation mode
    # and stays in it, so that sampling and training see the same distribution.
    policy = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    examples = read_examples(arguments.data)
    train(policy, tokenizer, examples, num_updates=arguments.updates, num_groups=arguments.groups, seed=arguments.seed)


if __name__ == "__main__":
    main()
