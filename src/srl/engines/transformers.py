"""Sample from a model of transformers in this process: CPU, one GPU, small models, tests.

The engine holds the very module that is trained, so weights never have to be handed over. Sampling settings are ours
alone: a checkpoint's generation_config (Qwen2.5 ships top_k = 20 and a repetition penalty) would silently change the
distribution that the loss believes was sampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from srl.errors import DataError
from srl.parsing import THINK_OPEN
from srl.policy import Precision, autocast, load_policy
from srl.seeds import derive_seed
from srl.types import ChatPrompt, Completion, Generation, SamplingParams

NEUTRAL_SAMPLING = {"top_k": 0, "repetition_penalty": 1.0, "min_p": None, "typical_p": 1.0, "no_repeat_ngram_size": 0}
"""Settings under which sampling is from softmax(logits / temperature) and nothing else."""


class TransformersEngine:
    """Samples with ``model.generate``, ``batch_size`` sequences at a time, prompts of similar length together."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        precision: Precision = "float32",
        batch_size: int = 64,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._precision: Precision = precision
        self._batch_size = batch_size
        self._end_token_ids = end_token_ids(model, tokenizer)

    @classmethod
    def from_pretrained(
        cls, path: str, *, precision: Precision = "float32", batch_size: int = 64
    ) -> TransformersEngine:
        """Load a model for inference; on a GPU where there is one."""
        model, tokenizer = load_policy(path)
        model.to("cuda" if torch.cuda.is_available() else "cpu")  # pyright: ignore
        return cls(model, tokenizer, precision=precision, batch_size=batch_size)

    def generate(
        self, prompts: Sequence[ChatPrompt], *, num_samples: int, sampling: SamplingParams, seed: int
    ) -> list[Generation]:
        """See Engine.generate."""
        done: dict[int, Generation] = {}
        for part in self.stream(prompts, num_samples=num_samples, sampling=sampling, seed=seed):
            done.update(part)
        return [done[index] for index in range(len(prompts))]

    def stream(
        self, prompts: Sequence[ChatPrompt], *, num_samples: int, sampling: SamplingParams, seed: int
    ) -> Iterator[dict[int, Generation]]:
        """See StreamingEngine.stream; one part per batch."""
        rendered = [render(prompt, self._tokenizer) for prompt in prompts]
        prompt_ids = [self.tokenize(text) for text in rendered]
        self._check_lengths(prompt_ids, sampling.max_completion_tokens)
        # Longest first: a batch that does not fit into memory fails at once and not after an hour.
        order = sorted(range(len(prompts)), key=lambda index: -len(prompt_ids[index]))
        rows = [index for index in order for _ in range(num_samples)]
        sampled: list[list[Completion]] = [[] for _ in prompts]
        for start in range(0, len(rows), self._batch_size):
            chunk = rows[start : start + self._batch_size]
            batch = self._sample([prompt_ids[i] for i in chunk], sampling, derive_seed(seed, "batch", start))
            for index, ids in zip(chunk, batch, strict=True):
                sampled[index].append(self._completion(ids, opens_think(rendered[index])))
            yield {
                index: Generation(prompt_token_ids=tuple(prompt_ids[index]), completions=tuple(sampled[index]))
                for index in dict.fromkeys(chunk)
                if len(sampled[index]) == num_samples
            }

    def count_prompt_tokens(self, prompt: ChatPrompt) -> int:
        """See Engine.count_prompt_tokens."""
        return len(self.tokenize(render(prompt, self._tokenizer)))

    def tokenize(self, text: str) -> list[int]:
        """Token ids of rendered text; the chat template has written the special tokens already."""
        ids = self._tokenizer(text, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return list(ids)  # pyright: ignore

    def _check_lengths(self, prompt_ids: Sequence[Sequence[int]], max_completion_tokens: int) -> None:
        window = getattr(self._model.config, "max_position_embeddings", None)
        longest = max((len(ids) for ids in prompt_ids), default=0)
        if window is not None and longest + max_completion_tokens > window:
            raise DataError(
                f"a prompt of {longest} tokens and max_completion_tokens = {max_completion_tokens} do not fit into "
                f"the model's window of {window} tokens; lower max_completion_tokens or leave long prompts out"
            )

    @torch.no_grad()
    def _sample(self, prompt_ids: Sequence[Sequence[int]], sampling: SamplingParams, seed: int) -> list[list[int]]:
        """Sampled ids of each row, cut after the first end token. The global random state is left as it was."""
        pad = int(self._tokenizer.pad_token_id)  # pyright: ignore
        length = max(len(ids) for ids in prompt_ids)
        input_ids = torch.full((len(prompt_ids), length), pad, dtype=torch.long)
        attention_mask = torch.zeros_like(input_ids)
        for row, ids in enumerate(prompt_ids):
            input_ids[row, length - len(ids) :] = torch.tensor(ids)
            attention_mask[row, length - len(ids) :] = 1
        settings: dict[str, Any] = dict(NEUTRAL_SAMPLING) if sampling.temperature > 0 else {"repetition_penalty": 1.0}
        if sampling.temperature > 0:
            settings |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
        generation_config = GenerationConfig(
            do_sample=sampling.temperature > 0,
            max_new_tokens=sampling.max_completion_tokens,
            eos_token_id=self._end_token_ids,
            pad_token_id=pad,
            **settings,
        )
        device, was_training = self._model.device, self._model.training
        self._model.eval()
        try:
            devices = [device] if device.type == "cuda" else []
            with torch.random.fork_rng(devices=devices), autocast(device, self._precision):
                torch.manual_seed(seed)
                output = self._generate_neutral(input_ids.to(device), attention_mask.to(device), generation_config)
        finally:
            self._model.train(was_training)
        return [self._cut(row) for row in output[:, length:].tolist()]

    def _generate_neutral(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, settings: GenerationConfig
    ) -> torch.Tensor:
        """``model.generate`` with the checkpoint's own generation_config out of the way for the call."""
        own = self._model.generation_config
        self._model.generation_config = GenerationConfig()
        try:
            return self._model.generate(  # pyright: ignore
                input_ids=input_ids, attention_mask=attention_mask, generation_config=settings
            )
        finally:
            self._model.generation_config = own

    def _cut(self, ids: list[int]) -> list[int]:
        for position, token in enumerate(ids):
            if token in self._end_token_ids:
                return ids[: position + 1]
        return ids

    def _completion(self, ids: list[int], think_is_open: bool) -> Completion:
        text = str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        return Completion(
            text=THINK_OPEN + text if think_is_open else text,
            token_ids=tuple(ids),
            finish_reason="stop" if ids and ids[-1] in self._end_token_ids else "length",
        )


def render(prompt: ChatPrompt, tokenizer: PreTrainedTokenizerBase) -> str:
    """The prompt as the model reads it: chat template, opened assistant turn, assistant prefix.

    A tokenizer without a chat template gets the texts one below the other.
    """
    if tokenizer.chat_template is None:
        head = "".join(f"{message['content']}\n\n" for message in prompt.messages)
    else:
        head = str(
            tokenizer.apply_chat_template(list(prompt.messages), tokenize=False, add_generation_prompt=True)  # pyright: ignore
        )
    if prompt.assistant_prefix and opens_think(head):
        raise DataError(
            "this model's chat template opens <think> at the start of the assistant's turn, so that no step can stand "
            'before it; use prompt.context_in = "user" (srl) or data.starts = "problem" (rlvr)'
        )
    return head + prompt.assistant_prefix


def opens_think(rendered_prompt: str) -> bool:
    """Whether the chat template has opened ``<think>`` already (QwQ does): it then belongs to the completion."""
    return rendered_prompt.rstrip().endswith(THINK_OPEN)


def end_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """All tokens that end a turn: the tokenizer's and those of the checkpoint's generation_config."""
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    more = configured if isinstance(configured, list) else [configured]
    ids = {int(token) for token in [tokenizer.eos_token_id, *more] if token is not None}  # pyright: ignore
    if not ids:
        raise DataError("the tokenizer names no end-of-turn token (eos_token); the policy could never stop")
    return sorted(ids)
