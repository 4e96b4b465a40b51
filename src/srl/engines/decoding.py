"""Prompts -> completions by continuous batching: every slot works on a completion until the last ones run out.

    prefill   the prompts that are next as one packed row, whatever they have in common computed once
    step      one token for each of R rows; what ended leaves, the rest closes up
    refill    the next completions take the free slots while the others go on

So the cost follows the tokens that are really written, and not slots times the longest completion. A completion's
random numbers depend on (seed, place of its prompt, its own number) alone, so it is the same, up to float error,
whatever runs beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from srl.engines.kv_store import DecodeAttention, KeyValueStore, PrefillAttention, fill_holes
from srl.engines.sampling import choose_tokens
from srl.engines.stops import StopTexts
from srl.packing.attention import PackedAttention, attention_for, packed
from srl.packing.tree import pack
from srl.policy import Precision, autocast
from srl.types import FinishReason, SamplingParams

REFILL_SHARE = 8
"""Free slots are filled again once there are this fraction of all: a prefill of one prompt wastes the processor."""

MAX_PREFILL_TOKENS = 16_384
"""Prompts of more tokens together are read one row after the other, which bounds the memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What the decoder hands over for one completion."""

    token_ids: list[int]
    logprobs: list[float] | None
    finish_reason: FinishReason


@dataclass(eq=False, slots=True)
class PromptState:
    """A prompt that is waiting, or has completions that are being written."""

    place: int
    """Its number among the prompts, from 0."""
    token_ids: Sequence[int]
    written: list[Written | None]
    """By sample; None while it is not finished."""
    num_started: int = 0
    first_logits: Tensor | None = None
    """[vocabulary] of the first token of every completion, between the prefill and the last one's start."""

    @property
    def is_done(self) -> bool:
        """Whether all completions are there."""
        return None not in self.written


@dataclass(eq=False, slots=True)
class Row:
    """A completion that is being written."""

    prompt: PromptState
    sample: int
    uniforms: np.ndarray[tuple[int], np.dtype[np.float64]]
    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])


class Decoder:
    """Writes completions of prompts that are added; R rows of it are at work at a time, at most ``num_slots``."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        precision: Precision,
        num_slots: int,
        num_samples: int,
        sampling: SamplingParams,
        seed: int,
        end_token_ids: Sequence[int],
        stops: StopTexts,
    ) -> None:
        self._model, self._num_slots = model, num_slots
        self._precision: Precision = precision
        self._num_samples, self._sampling, self._seed = num_samples, sampling, seed
        self._ends, self._stops = frozenset(end_token_ids), stops
        self._device = model.device
        self._waiting: deque[PromptState] = deque()
        self._seated: list[PromptState] = []  # in the order of the prompt store
        self._rows: list[Row] = []  # in the order of the row store
        self._prompt_store = KeyValueStore(max_num=num_slots, max_length=0)  # prompts have no common bound
        self._row_store = KeyValueStore(max_num=num_slots, max_length=sampling.max_completion_tokens)
        self._is_seated = False
        self._attention = DecodeAttention(self._prompt_store, self._row_store, self._device)

    @property
    def room(self) -> int:
        """Completions that could start at once beside those that run or wait."""
        waiting = sum(self._num_samples - prompt.num_started for prompt in self._waiting)
        return self._num_slots - len(self._rows) - waiting

    @property
    def wants_prompts(self) -> bool:
        """Whether a refill is due and what waits would not fill the slots."""
        return self.room > 0 and self._refill_is_due

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._rows and not self._waiting

    def add(self, place: int, token_ids: Sequence[int]) -> None:
        """A prompt to complete; ``place`` numbers it."""
        self._waiting.append(PromptState(place, token_ids, [None] * self._num_samples))

    @torch.inference_mode()
    def run(self, *, expects_more: bool) -> dict[int, list[Written]]:
        """Go on until a prompt is done, or slots are to be filled and there is ``expects_more`` to fill them with.

        Returns what is done, by place.
        """
        was_training = self._model.training
        self._model.eval()
        done: dict[int, list[Written]] = {}
        try:
            with packed(self._model), autocast(self._device, self._precision):
                while not done:
                    if self._waiting and self._refill_is_due:
                        self._refill()
                    elif self._rows and not (expects_more and self._refill_is_due):
                        self._step()
                    else:
                        break
                    done = self._collect()
        finally:
            self._model.train(was_training)
        return done

    @property
    def _refill_is_due(self) -> bool:
        return not self._rows or self._num_slots - len(self._rows) >= max(1, self._num_slots // REFILL_SHARE)

    def _refill(self) -> None:
        """Start waiting completions in the free slots."""
        free, starting, num_tokens = self._num_slots - len(self._rows), 0, 0
        chosen: list[PromptState] = []
        for prompt in self._waiting:
            num_tokens += len(prompt.token_ids) if prompt.num_started == 0 else 0
            if starting >= free or (chosen and num_tokens > MAX_PREFILL_TOKENS):
                break
            chosen.append(prompt)
            starting += self._num_samples - prompt.num_started
        self._prefill([prompt for prompt in chosen if prompt.num_started == 0])
        new: list[Row] = []
        for prompt in chosen:
            while prompt.num_started < self._num_samples and len(new) < free:
                new.append(self._new_row(prompt))
            if prompt.num_started == self._num_samples:
                self._waiting.popleft()
        logits = torch.stack([row.prompt.first_logits for row in new if row.prompt.first_logits is not None])
        self._rows += new
        self._is_seated = False
        self._write(new, logits)
        for prompt in chosen:
            if prompt.num_started == self._num_samples:
                prompt.first_logits = None

    def _new_row(self, prompt: PromptState) -> Row:
        sample = prompt.num_started
        prompt.num_started += 1
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence((self._seed, prompt.place, sample))))
        return Row(prompt, sample, random.random(self._sampling.max_completion_tokens))

    def _prefill(self, prompts: Sequence[PromptState]) -> None:
        """Keys and values of the prompts into the store, and the logits of their first tokens."""
        if not prompts:
            return
        rows = pack([(prompt.token_ids, ()) for prompt in prompts])
        attention = PrefillAttention(attention_for(rows, self._device))
        last = torch.tensor([path[-1][1] - 1 for path in rows.paths], device=self._device)
        logits = self._forward(rows.token_ids, rows.positions, attention, keep=last)
        start, length = len(self._seated), max(len(prompt.token_ids) for prompt in prompts)
        places = [torch.from_numpy(np.concatenate([np.arange(*part) for part in path])) for path in rows.paths]
        places = [place.to(self._device) for place in places]
        for layer, pair in attention.layers.items():
            stores = self._prompt_store.reserve(layer, pair, num=start + len(prompts), length=length)
            for store, tensor in zip(stores, pair, strict=True):
                for index, place in enumerate(places):
                    store[start + index, :, : len(place)] = tensor.index_select(1, place)
        for prompt, row in zip(prompts, logits, strict=True):
            prompt.first_logits = row
        self._seated += prompts

    def _forward(
        self,
        token_ids: np.ndarray[tuple[int], np.dtype[np.int64]],
        positions: np.ndarray[tuple[int], np.dtype[np.int64]],
        attention: PackedAttention,
        *,
        keep: Tensor | int = 0,
    ) -> Tensor:
        """[kept tokens, vocabulary] logits; ``keep`` 0 keeps all."""
        return self._model(
            input_ids=torch.from_numpy(token_ids)[None].to(self._device),
            position_ids=torch.from_numpy(positions)[None].to(self._device),
            logits_to_keep=keep,
            packed=attention,
            use_cache=False,
        ).logits[0]

    def _seat(self) -> None:
        """Tell the attention who is there; after every change."""
        places = {id(prompt): place for place, prompt in enumerate(self._seated)}
        self._attention.seat(
            [places[id(row.prompt)] for row in self._rows], [len(prompt.token_ids) for prompt in self._seated]
        )
        self._is_seated = True

    def _step(self) -> None:
        """One more token for every row."""
        if not self._is_seated:
            self._seat()
        written = np.array([len(row.token_ids) for row in self._rows])
        prompt_lengths = np.array([len(row.prompt.token_ids) for row in self._rows])
        self._attention.advance((written - 1).tolist())
        last = np.array([row.token_ids[-1] for row in self._rows])
        self._write(self._rows, self._forward(last, prompt_lengths + written - 1, self._attention))

    def _write(self, rows: Sequence[Row], logits: Tensor) -> None:
        """Choose the next token of each row from its [rows, vocabulary] logits."""
        uniforms = torch.tensor([row.uniforms[len(row.token_ids)] for row in rows], dtype=torch.float64)
        tokens, logprobs = choose_tokens(logits, self._sampling, uniforms)
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.token_ids.append(token)
            row.logprobs.append(logprob)

    def _collect(self) -> dict[int, list[Written]]:
        """Take out the rows that have ended, and the prompts of which all have."""
        stopped = self._stops.are_complete([row.token_ids for row in self._rows])
        ended = [
            place
            for place, (row, is_stopped) in enumerate(zip(self._rows, stopped, strict=True))
            if is_stopped
            or row.token_ids[-1] in self._ends
            or len(row.token_ids) == self._sampling.max_completion_tokens
        ]
        for place in ended:
            row = self._rows[place]
            ends = row.token_ids[-1] in self._ends or stopped[place]
            row.prompt.written[row.sample] = Written(
                token_ids=row.token_ids, logprobs=row.logprobs, finish_reason="stop" if ends else "length"
            )
        if not ended:
            return {}
        self._is_seated = False
        _close_up(self._row_store, self._rows, ended)
        done = [place for place, prompt in enumerate(self._seated) if prompt.is_done]
        finished = [self._seated[place] for place in done]
        _close_up(self._prompt_store, self._seated, done)
        return {prompt.place: [item for item in prompt.written if item is not None] for prompt in finished}


def _close_up(store: KeyValueStore, items: list[Row] | list[PromptState], holes: Sequence[int]) -> None:
    """Remove ``holes`` from a dense store and from the list that says what is in it."""
    sources, targets = fill_holes(len(items), holes)
    store.move(sources, targets)
    for source, target in zip(sources, targets, strict=True):
        items[target] = items[source]  # pyright: ignore
    del items[len(items) - len(set(holes)) :]
