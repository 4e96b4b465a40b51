"""Real objects at the smallest size: a two-layer policy with a byte-level tokenizer, stages, runs. No mocks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srl.completion_rewards import Scoring
from srl.config import StageConfig
from srl.data_config import DataConfig
from srl.engines import StreamingEngine
from srl.engines.transformers import TransformersEngine
from srl.rewards.similarity import similarity_reward
from srl.run_dir import RunDir
from srl.stage import Stage
from srl.tasks.tiny_model import new_model, train_tokenizer
from srl.trainer import Trainer
from srl.training_config import OptimizerConfig, SamplingConfig, ScheduleConfig
from srl.types import (
    ChatPrompt,
    Completion,
    FinishReason,
    Generation,
    ParsedCompletion,
    ParseStatus,
    Rollout,
    RolloutGroup,
    TrainingExample,
)

WORDS = ["seven", "times", "six", "is", "forty", "two", "plus", "nine"]


def tiny_policy(seed: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """About 25,000 random weights; spells bytes."""
    tokenizer = train_tokenizer([" ".join(WORDS)], 280)
    model = new_model(tokenizer, hidden_size=32, num_layers=2, num_heads=2, max_positions=512, seed=seed)
    return model, tokenizer


def example(index: int, target: str = "seven times six") -> TrainingExample:
    user = {"role": "user", "content": f"{WORDS[index % 8]} {index}"}
    return TrainingExample(example_id=f"e{index}", prompt=ChatPrompt(messages=(user,)), target=target)  # type: ignore[arg-type]


def group(rewards: list[float], statuses: list[ParseStatus] | None = None, index: int = 0) -> RolloutGroup:
    """A group with these rewards; completions are short and differ."""
    statuses = statuses or [ParseStatus.OK] * len(rewards)
    rollouts = tuple(
        Rollout(
            completion=Completion(text=f"a{i}", token_ids=tuple(range(5, 7 + i)), finish_reason="stop"),
            parsed=ParsedCompletion(status=status, monologue="", action=f"a{i}"),
            reward=reward,
        )
        for i, (reward, status) in enumerate(zip(rewards, statuses, strict=True))
    )
    return RolloutGroup(example=example(index), prompt_token_ids=(1, 2, 3), rollouts=rollouts)


def random_groups(num_groups: int, group_size: int, *, seed: int = 0, vocab_size: int = 200) -> list[RolloutGroup]:
    """Groups of random tokens with prompts and completions of very different lengths."""
    rng = random.Random(seed)
    groups: list[RolloutGroup] = []
    for index in range(num_groups):
        rollouts = tuple(
            Rollout(
                completion=Completion(
                    text="",
                    token_ids=tuple(rng.randrange(5, vocab_size) for _ in range(rng.randrange(1, 24))),
                    finish_reason="stop",
                ),
                parsed=ParsedCompletion(status=ParseStatus.OK, monologue="", action="x"),
                reward=rng.random(),
            )
            for _ in range(group_size)
        )
        prompt = tuple(rng.randrange(5, vocab_size) for _ in range(rng.randrange(1, 40)))
        groups.append(RolloutGroup(example=example(index), prompt_token_ids=prompt, rollouts=rollouts))
    return groups


def parse_anything(text: str, finish_reason: FinishReason) -> ParsedCompletion:
    """Lets a policy of random weights, which never writes ``<think>``, collect rewards that differ."""
    del finish_reason
    return ParsedCompletion(status=ParseStatus.OK, monologue="", action=text)


def stage(name: str = "srl", *, num_examples: int = 12, **sections: Any) -> Stage:
    """An SRL stage on made-up examples whose rewards differ from the first rollout on."""
    settings: dict[str, Any] = {
        "sampling": SamplingConfig(group_size=4, groups_per_update=3, max_completion_tokens=6, min_reward_std=0.05),
        "optimizer": OptimizerConfig(learning_rate=1e-2),
        "schedule": ScheduleConfig(num_updates=6, validate_every=2, save_every=3, num_epochs=50),
    }
    config = StageConfig(kind="srl", data=DataConfig(train="none"), **(settings | sections))
    scoring = Scoring(
        parse=parse_anything,
        reward=similarity_reward(autojunk=False, first_argument="action"),
        format_penalty=-1.0,
    )
    examples = [example(index) for index in range(num_examples)]
    return Stage(name=name, config=config, training=examples[2:], validation=examples[:2], scoring=scoring)


class KilledError(Exception):
    """Stands for a kill at a moment of our choice."""


class MortalEngine:
    """Samples as ``engine`` does, until ``is_over()`` before a part is handed over."""

    def __init__(self, engine: StreamingEngine, is_over: Callable[[], bool]) -> None:
        self._engine, self._is_over = engine, is_over
        self.generate, self.count_prompt_tokens = engine.generate, engine.count_prompt_tokens

    def stream(self, prompts: Iterator[ChatPrompt | None], **settings: Any) -> Iterator[dict[int, Generation]]:
        for part in self._engine.stream(prompts, **settings):
            if self._is_over():
                raise KilledError
            yield part


def trainer(
    the_stage: Stage, folder: Path, *, model: PreTrainedModel | None = None, seed: int = 0, **options: Any
) -> Trainer:
    """A trainer over ``the_stage`` that writes to ``folder``, from the tiny policy or ``model``."""
    tiny, tokenizer = tiny_policy()
    torch.manual_seed(seed)
    model = model or tiny
    folder.mkdir(parents=True, exist_ok=True)
    return Trainer(
        the_stage,
        model,
        tokenizer,
        options.pop("engine", None) or TransformersEngine(model, tokenizer, batch_size=16),
        Accelerator(cpu=True),
        RunDir(folder),
        seed=seed,
        precision="float32",
        **options,
    )
