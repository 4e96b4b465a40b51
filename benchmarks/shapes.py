"""Groups of rollouts of the shapes that real data have, for benchmarks of an update.

    python benchmarks/shapes.py [--data ../shared/data]

prints how long they are. Prompts are real: step examples of ``math/amc_aime_solutions.jsonl``, and of the logs of
``swe/miniswe``, made and cut by the stages' own code. The tokenizer is trained on these texts (8,000 tokens), so that a
token is about as long as one of a large model's.

There are no rollouts on disk, so completions are put together from real text of the same trajectory:

    <think> + what the expert wrote elsewhere (math: bodies of other steps; agents: the prose before the commands), in
    random order and repeated where it is short + </think> + the expert's action + the end of the turn

Their number of tokens, all of this together, is drawn log-uniformly from 60 to 400 (math) or from 40 to 250 (agents)
and differs within a group. The expert's action takes at most half of it and is cut where it is longer. Rewards are
random. Everything depends on the seed alone.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from transformers import Qwen2Tokenizer

from srl.config import StageConfig
from srl.data_config import DataConfig, PromptConfig
from srl.engines.transformers import render
from srl.parsing import THINK_CLOSE, THINK_OPEN, parse_step
from srl.stage_data import build_stage, fit_prompts
from srl.tasks.tiny_model import train_tokenizer
from srl.training_config import SamplingConfig
from srl.trajectories.reader import read_trajectories
from srl.types import (
    ChatPrompt,
    Completion,
    ParsedCompletion,
    ParseStatus,
    Rollout,
    RolloutGroup,
    TrainingExample,
    Trajectory,
)

Drawn = Literal["random", "trajectories"]
"""Examples drawn at random from all, or all examples of few trajectories, these drawn at random."""

DATA = Path(__file__).parents[2] / "shared" / "data"
VOCAB_SIZE = 8000
WINDOW = 8192
MAX_TEXT = 4000
"""Characters of a text that the tokenizer learns from: a log has observations of a megabyte."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A kind of data and the lengths of its completions."""

    path: str
    """Below the folder of the data."""
    prompt: PromptConfig
    prompt_tokens: tuple[int, int]
    """Shortest and longest prompt that is taken."""
    completion_tokens: tuple[int, int]
    """Shortest and longest completion."""


MATH = Shape(
    path="math/amc_aime_solutions.jsonl",
    prompt=PromptConfig(title_in_prompt=True),  # as in the recipes of the paper's mathematics
    prompt_tokens=(1, WINDOW),
    completion_tokens=(60, 400),
)
AGENT = Shape(
    path="swe/miniswe",
    prompt=PromptConfig(context_turns=2, max_observation_tokens=2048, max_prompt_tokens=4096),
    prompt_tokens=(2048, 4096),
    completion_tokens=(40, 250),
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A shape's examples."""

    examples: dict[str, list[TrainingExample]]
    """By trajectory, those whose prompts are of a length that is taken."""
    trajectories: dict[str, Trajectory]
    tokenizer: Qwen2Tokenizer


def math_groups(
    num_groups: int, *, drawn: Drawn = "random", group_size: int = 8, seed: int = 0, data: Path = DATA
) -> list[RolloutGroup]:
    """Step examples of mathematics with ``group_size`` rollouts each."""
    return make_groups(MATH, num_groups, drawn=drawn, group_size=group_size, seed=seed, data=data)


def agent_groups(
    num_groups: int, *, drawn: Drawn = "random", group_size: int = 8, seed: int = 0, data: Path = DATA
) -> list[RolloutGroup]:
    """Step examples of a coding agent, prompts of 2,048 to 4,096 tokens, with ``group_size`` rollouts each."""
    return make_groups(AGENT, num_groups, drawn=drawn, group_size=group_size, seed=seed, data=data)


def make_groups(
    shape: Shape, num_groups: int, *, drawn: Drawn, group_size: int, seed: int, data: Path
) -> list[RolloutGroup]:
    """See the module's docstring."""
    source = load(shape, data)
    rng = random.Random(f"{shape.path} {drawn} {seed}")
    names = sorted(source.examples)
    if drawn == "random":
        examples = rng.sample([example for name in names for example in source.examples[name]], num_groups)
    else:
        rng.shuffle(names)
        examples = [example for name in names for example in source.examples[name]][:num_groups]
    return [_group(example, shape, source, group_size, rng) for example in examples]


@cache
def load(shape: Shape, data: Path) -> Source:
    """Read the data, train the tokenizer, make the prompts; kept in memory only."""
    path = str(data / shape.path)
    trajectories = {
        item.trajectory_id: item for item in read_trajectories(path) if isinstance(item, Trajectory) and item.steps
    }
    tokenizer = train_tokenizer(chain.from_iterable(map(_texts, trajectories.values())), VOCAB_SIZE)
    config = StageConfig(
        kind="srl",
        data=DataConfig(train=path, num_validation_trajectories=0, include_last_step=True),
        prompt=shape.prompt,
        sampling=SamplingConfig(max_completion_tokens=shape.completion_tokens[1]),
    )
    window = SimpleNamespace(max_position_embeddings=WINDOW)
    stage_data, lengths = fit_prompts(build_stage("shapes", config, seed=0), window, tokenizer, save_lengths=False)
    shortest, longest = shape.prompt_tokens
    examples: dict[str, list[TrainingExample]] = {}
    for place, length in enumerate(lengths):
        if shortest <= length <= longest:
            example = stage_data.stage.training[place]
            examples.setdefault(example.example_id.rpartition("#")[0], []).append(example)
    return Source(examples=examples, trajectories=trajectories, tokenizer=tokenizer)


def _texts(trajectory: Trajectory) -> Iterator[str]:
    yield trajectory.problem[:MAX_TEXT]
    for step in trajectory.steps:
        yield from (text[:MAX_TEXT] for text in (step.thought, step.text, step.observation) if text)


def _group(example: TrainingExample, shape: Shape, source: Source, group_size: int, rng: random.Random) -> RolloutGroup:
    tokenizer, step = source.tokenizer, example.step
    assert step is not None
    trajectory = source.trajectories[step.trajectory_id]
    others = [other.thought or other.body for index, other in enumerate(trajectory.steps) if index != step.step_index]
    pool = [text for text in others if text] or [trajectory.problem]
    action = _ids(tokenizer, example.target)
    rollouts: list[Rollout] = []
    for _ in range(group_size):
        low, high = shape.completion_tokens
        length = round(low * (high / low) ** rng.random())
        written = action[: length // 2]
        monologue = _monologue(tokenizer, pool, length - len(written) - 3, rng)
        ids = [*_ids(tokenizer, THINK_OPEN), *monologue, *_ids(tokenizer, THINK_CLOSE), *written]
        text = str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
        completion = Completion(text=text, token_ids=(*ids, int(tokenizer.eos_token_id)), finish_reason="stop")  # type: ignore[arg-type]
        rollouts.append(Rollout(completion=completion, parsed=parse_step(text, "stop"), reward=rng.random()))
    prompt = _ids(tokenizer, render(example.prompt, tokenizer))
    return RolloutGroup(example=example, prompt_token_ids=tuple(prompt), rollouts=tuple(rollouts))


def _monologue(tokenizer: Qwen2Tokenizer, pool: Sequence[str], num_tokens: int, rng: random.Random) -> list[int]:
    """``num_tokens`` tokens of the texts in random order, again and again where they are not enough."""
    ids: list[int] = []
    for text in cycle(rng.sample(list(pool), len(pool))):
        ids += _ids(tokenizer, text + "\n")
        if len(ids) >= num_tokens:
            return ids[:num_tokens]
    raise AssertionError("cycle ends never")


def _ids(tokenizer: Qwen2Tokenizer, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])  # type: ignore[arg-type]


def describe(groups: Sequence[RolloutGroup]) -> dict[str, object]:
    """Numbers of groups, rollouts and tokens; lengths as smallest, median and largest."""
    prompts = [len(group.prompt_token_ids) for group in groups]
    completions = [len(rollout.completion.token_ids) for group in groups for rollout in group.rollouts]
    return {
        "num_groups": len(groups),
        "num_rollouts": len(completions),
        "num_trajectories": len({group.example.example_id.rpartition("#")[0] for group in groups}),
        "prompt_tokens": [min(prompts), round(statistics.median(prompts)), max(prompts)],
        "completion_tokens": [min(completions), round(statistics.median(completions)), max(completions)],
        "tokens": num_tokens(groups),
    }


def to_json(groups: Sequence[RolloutGroup]) -> list[dict[str, object]]:
    """Tokens and rewards, all that an update reads of groups."""
    return [
        {
            "prompt": group.prompt_token_ids,
            "completions": [rollout.completion.token_ids for rollout in group.rollouts],
            "rewards": group.rewards,
        }
        for group in groups
    ]


def from_json(values: Sequence[dict[str, Any]]) -> list[RolloutGroup]:
    """Groups of these tokens and rewards; their texts are empty."""
    example = TrainingExample(example_id="", prompt=ChatPrompt(messages=()), target="")
    parsed = ParsedCompletion(status=ParseStatus.OK, monologue="", action="")
    return [
        RolloutGroup(
            example=example,
            prompt_token_ids=tuple(value["prompt"]),
            rollouts=tuple(
                Rollout(
                    completion=Completion(text="", token_ids=tuple(ids), finish_reason="stop"),
                    parsed=parsed,
                    reward=reward,
                )
                for ids, reward in zip(value["completions"], value["rewards"], strict=True)
            ),
        )
        for value in values
    ]


def num_tokens(groups: Sequence[RolloutGroup]) -> int:
    """Tokens of an update, the prompt counted once for each rollout: what there is to compute without sharing."""
    return sum(
        len(group.prompt_token_ids) + len(rollout.completion.token_ids)
        for group in groups
        for rollout in group.rollouts
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with math/ and swe/")
    parser.add_argument("--num-groups", type=int, default=64)
    arguments = parser.parse_args()
    for name, make in (("math", math_groups), ("agent", agent_groups)):
        for drawn in ("random", "trajectories"):
            groups = make(arguments.num_groups, drawn=drawn, data=arguments.data)
            print(name, drawn, json.dumps(describe(groups)))


if __name__ == "__main__":
    main()
