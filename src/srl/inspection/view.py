"""How a model will see step examples: the choices that shape a prompt, and the model's tokenizer where there is one."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srl.config import StageConfig
from srl.context import ContextLimits, fit_example, keep_last_turns
from srl.errors import ConfigError, DataError
from srl.examples import CONTEXT_TURNS
from srl.prompts import ContextPlace, PromptTexts
from srl.recipe import load_recipe
from srl.training_examples import step_example
from srl.types import ChatPrompt, StepExample, TrainingExample


@dataclass(frozen=True, kw_only=True)
class PromptChoices:
    """What shapes a prompt beside the data; a recipe's stage has all of it."""

    context_in: ContextPlace = "user"
    """Where the earlier steps of a solution stand."""
    title_in_prompt: bool = False
    """Whether the title of the step is given."""
    context_turns: int = CONTEXT_TURNS
    """Rounds of action and observation of an agent's context."""
    max_observation_tokens: int | None = None
    """Longer observations are cut; None: never."""
    max_prompt_tokens: int | None = None
    """Agents' contexts are cut until the prompt fits; None: never."""
    max_completion_tokens: int | None = None
    """Longest completion, which a target should fit into; None: not known."""
    texts: PromptTexts = field(default_factory=PromptTexts)
    """Wording beside the data."""

    def __post_init__(self) -> None:
        if self.context_turns < 0:
            raise ConfigError(f"context_turns is {self.context_turns}; use 0 or more")
        for name in ("max_observation_tokens", "max_prompt_tokens", "max_completion_tokens"):
            value: int | None = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; use at least 1, or leave it out for no limit")


def choices_of_stage(recipe: Path, stage_name: str | None, model: str | None) -> PromptChoices:
    """The choices of a recipe's stage, the first srl stage unless it is named.

    Without a longest prompt in the recipe it is what the window of ``model`` leaves, as in training. Raises
    ConfigError if there is no such stage, or if it asks for whole solutions.
    """
    stages = load_recipe(recipe).stages
    of_steps = {name: stage for name, stage in stages.items() if stage.kind == "srl" and not stage.data.one_step}
    name = stage_name if stage_name is not None else next(iter(of_steps), None)
    if name is None or name not in of_steps:
        found = f"no stage {name!r}" if name is not None and name not in stages else "a stage that asks for solutions"
        raise ConfigError(
            f"{recipe}: {found}; inspect shows prompts for single steps, and the stages of this recipe that ask for "
            f"them are: {', '.join(of_steps) or 'none'}"
        )
    return _choices(of_steps[name], model)


def _choices(stage: StageConfig, model: str | None) -> PromptChoices:
    prompt, completion = stage.prompt, stage.sampling.max_completion_tokens
    window = _window(model) if model is not None else None
    limits = [prompt.max_prompt_tokens or None, None if window is None else max(1, window - completion)]
    return PromptChoices(
        context_in=prompt.context_in,
        title_in_prompt=prompt.title_in_prompt,
        context_turns=prompt.context_turns,
        max_observation_tokens=prompt.max_observation_tokens,
        max_prompt_tokens=min((limit for limit in limits if limit is not None), default=None),
        max_completion_tokens=completion,
        texts=prompt.texts,
    )


class ModelView:
    """Makes prompts as training does; without a model nothing is counted in tokens, and so nothing is cut."""

    def __init__(self, choices: PromptChoices, tokenizer: Any = None) -> None:
        self.choices = choices
        self._tokenizer = tokenizer

    @property
    def has_model(self) -> bool:
        """Whether there is a tokenizer."""
        return self._tokenizer is not None

    @property
    def special_tokens(self) -> list[str]:
        """The texts of the tokenizer's special tokens."""
        return list(self._tokenizer.all_special_tokens) if self.has_model else []

    def shown(self, example: StepExample) -> StepExample:
        """The example with the rounds that are asked for, nothing cut yet."""
        return keep_last_turns(example, self.choices.context_turns)

    def fitted(self, example: StepExample) -> StepExample | None:
        """``shown`` cut to the limits in tokens; None where it cannot be used."""
        if not self.has_model:
            return self.shown(example)
        return fit_example(
            self.shown(example),
            render=lambda shown: self.rendered(self.training_example(shown).prompt),
            tokenizer=self._tokenizer,
            limits=ContextLimits(
                max_observation_tokens=self.choices.max_observation_tokens,
                max_prompt_tokens=self.choices.max_prompt_tokens,
            ),
            marker=self.choices.texts.agent_cut_marker,
        )

    def training_example(self, example: StepExample) -> TrainingExample:
        """Prompt and target."""
        choices = self.choices
        return step_example(
            example, context_in=choices.context_in, title_in_prompt=choices.title_in_prompt, texts=choices.texts
        )

    def rendered(self, prompt: ChatPrompt) -> str:
        """The prompt with the model's chat template; without a model its texts, one below the other."""
        if not self.has_model:
            return "\n\n".join([*(message["content"] for message in prompt.messages), prompt.assistant_prefix])
        engines: Any = importlib.import_module("srl.engines.transformers")  # brings torch
        return engines.render(prompt, self._tokenizer)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; [] without a model."""
        if not self.has_model or not texts:
            return []
        encoded = self._tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]


def load_tokenizer(model: str) -> Any:
    """The tokenizer of a local folder or Hub id. Raises DataError where there is none."""
    transformers: Any = importlib.import_module("transformers")
    try:
        return transformers.AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot load a tokenizer from {model!r}: {str(error).rstrip('. ')}. Give the local folder or "
            "the Hub id of a model, or leave --model out"
        ) from error


def _window(model: str) -> int | None:
    """Positions that the model can attend to; None where its folder does not say."""
    transformers: Any = importlib.import_module("transformers")
    try:
        window = getattr(transformers.AutoConfig.from_pretrained(model), "max_position_embeddings", None)
    except (OSError, ValueError):
        return None
    return window if isinstance(window, int) else None
