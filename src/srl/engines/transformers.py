"""Sample from a model of transformers in this process: CPU, one GPU, small models, tests.

The engine holds the very module that is trained, so weights never have to be handed over. ``decoding`` does the work:
every prompt is read once, completions leave when they end and others take their place. A model, or a length, that it
cannot serve goes through ``model.generate``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srl.engines.decoding import Decoder, Written
from srl.engines.plain_generation import generate_rows
from srl.engines.stops import StopTexts
from srl.errors import DataError
from srl.model_support import examine
from srl.parsing import THINK_OPEN
from srl.policy import Precision, load_policy
from srl.seeds import derive_seed
from srl.types import ChatPrompt, Completion, FinishReason, Generation, SamplingParams


class TransformersEngine:
    """Samples ``batch_size`` completions at a time from a model of transformers."""

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
        self._support = examine(model)

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
        lengths = [self.count_prompt_tokens(prompt) for prompt in prompts]
        self._check_length(max(lengths, default=1), sampling)
        # Longest first: a prompt that does not fit into memory fails at once, and lengths that are alike run together.
        order = sorted(range(len(prompts)), key=lambda index: -lengths[index])
        feed = (prompts[index] for index in order)
        done: dict[int, Generation] = {}
        for part in self.stream(feed, num_samples=num_samples, sampling=sampling, seed=seed):
            done |= {order[place]: generation for place, generation in part.items()}
        return [done[index] for index in range(len(prompts))]

    def stream(
        self, prompts: Iterator[ChatPrompt | None], *, num_samples: int, sampling: SamplingParams, seed: int
    ) -> Iterator[dict[int, Generation]]:
        """See StreamingEngine.stream."""
        stops = StopTexts(sampling.stop, self._tokenizer)
        decoder = Decoder(
            self._model,
            precision=self._precision,
            num_slots=self._batch_size,
            num_samples=num_samples,
            sampling=sampling,
            seed=seed,
            end_token_ids=self._end_token_ids,
            stops=stops,
        )
        texts: list[str] = []
        tokens: list[list[int]] = []
        has_ended = False
        while True:
            is_blocked, refused = False, list[int]()
            is_full = False
            while not (has_ended or is_blocked or is_full) and decoder.wants_prompts:
                try:
                    prompt = next(prompts)
                except StopIteration:
                    has_ended = True
                    continue
                if prompt is None:
                    is_blocked = True
                    continue
                texts.append(render(prompt, self._tokenizer))
                tokens.append(self.tokenize(texts[-1]))
                self._check_length(len(tokens[-1]), sampling)
                if self._can_decode(len(tokens[-1]), sampling):
                    decoder.add(len(tokens) - 1, tokens[-1])
                else:
                    refused.append(len(tokens) - 1)
                    is_full = len(refused) * num_samples >= self._batch_size
            done: dict[int, list[Written]] = {}
            if refused:
                done = self._generate({place: tokens[place] for place in refused}, num_samples, sampling, seed, stops)
            elif not decoder.is_idle:
                done = decoder.run(expects_more=not has_ended and not is_blocked)
            if done or (is_blocked and decoder.is_idle):
                yield {place: self._generation(texts[place], tokens[place], of) for place, of in done.items()}
            elif has_ended and decoder.is_idle:
                return

    def count_prompt_tokens(self, prompt: ChatPrompt) -> int:
        """See Engine.count_prompt_tokens."""
        return len(self.tokenize(render(prompt, self._tokenizer)))

    def tokenize(self, text: str) -> list[int]:
        """Token ids of rendered text; the chat template has written the special tokens already."""
        ids = self._tokenizer(text, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return list(ids)  # pyright: ignore

    def _check_length(self, num_tokens: int, sampling: SamplingParams) -> None:
        if num_tokens == 0:
            raise DataError("a prompt has no tokens: its texts are empty and the tokenizer has no chat template")
        window = getattr(self._model.config, "max_position_embeddings", None)
        if window is not None and num_tokens + sampling.max_completion_tokens > window:
            raise DataError(
                f"a prompt of {num_tokens} tokens and max_completion_tokens = {sampling.max_completion_tokens} do not "
                f"fit into the model's window of {window} tokens; lower max_completion_tokens or leave long prompts out"
            )

    def _can_decode(self, num_tokens: int, sampling: SamplingParams) -> bool:
        longest = self._support.max_length
        return self._support.packs and (longest is None or num_tokens + sampling.max_completion_tokens <= longest)

    def _generate(
        self,
        prompts: dict[int, list[int]],
        num_samples: int,
        sampling: SamplingParams,
        seed: int,
        stops: StopTexts,
    ) -> dict[int, list[Written]]:
        """The completions of prompts, by place, by ``model.generate``.

        torch draws their random numbers, for a batch at a time: they depend on which prompts come together.
        """
        places = [place for place in prompts for _ in range(num_samples)]
        done: dict[int, list[Written]] = {place: [] for place in prompts}
        for start in range(0, len(places), self._batch_size):
            chunk = places[start : start + self._batch_size]
            rows = generate_rows(
                self._model,
                self._tokenizer,
                [prompts[place] for place in chunk],
                sampling,
                seed=derive_seed(seed, "plain", chunk[0], start),
                end_token_ids=self._end_token_ids,
                stops=stops,
                precision=self._precision,
            )
            for place, ids in zip(chunk, rows, strict=True):
                done[place].append(Written(token_ids=ids, logprobs=None, finish_reason=self._reason(ids, stops)))
        return done

    def _reason(self, ids: list[int], stops: StopTexts) -> FinishReason:
        return "stop" if ids[-1] in self._end_token_ids or stops.are_complete([ids])[0] else "length"

    def _generation(self, text: str, prompt_ids: Sequence[int], written: Sequence[Written]) -> Generation:
        thinks = opens_think(text)
        return Generation(
            prompt_token_ids=tuple(prompt_ids),
            completions=tuple(self._completion(item, thinks) for item in written),
        )

    def _completion(self, written: Written, think_is_open: bool) -> Completion:
        text = self._tokenizer.decode(written.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Completion(
            text=THINK_OPEN + str(text) if think_is_open else str(text),
            token_ids=tuple(written.token_ids),
            finish_reason=written.finish_reason,
            logprobs=None if written.logprobs is None else tuple(written.logprobs),
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
