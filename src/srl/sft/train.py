"""An sft stage: TRL's SFTTrainer over the expert's text, from the weights that ``model`` has to a checkpoint folder.

TRL computes loss and gradient, clips, and makes the updates. What an update is made of, its learning rate, and what is
validated, logged and saved is decided here, as in the other kinds of stages.

The decision a reader would question: nothing is saved on the way that a resumed run could go on from. SFTTrainer's own
checkpoints are pickled, and an sft stage is short beside one that samples. A stage that was killed starts anew, and
with the same seed it ends with the same weights.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from srl.compute_config import ModelConfig, TrainerConfig
from srl.errors import ConfigError
from srl.metrics import Metrics
from srl.policy import Precision, autocast
from srl.run_dir import RunDir
from srl.seeds import derive_seed
from srl.sft.plan import count_draws, draw_updates, learning_rate, split
from srl.sft.progress import Progress
from srl.sft.rows import keeps_apart, make_dataset, padded_collator
from srl.sft.tokens import TaughtData, pad_token
from srl.stage import Stage

logger = logging.getLogger("srl")
INSTALL = "pip install 'supervised-rl[sft]'"
_MAX_GRAD_NORM = 1.0


def check_can_train(accelerator: Accelerator) -> None:
    """Raises ConfigError where an sft stage could not be trained: without TRL, or on several processes or GPUs."""
    if importlib.util.find_spec("trl") is None:
        raise ConfigError(f"a stage of kind sft needs TRL, which is not installed; install it with: {INSTALL}")
    if accelerator.num_processes > 1:
        raise ConfigError(
            f"a stage of kind sft runs in one process, and {accelerator.num_processes} were started; run it by itself, "
            "and the stages after it as another run whose model.path is the folder that it ends with"
        )
    if accelerator.device.type == "cuda" and torch.cuda.device_count() > 1:
        raise ConfigError(
            f"a stage of kind sft uses one GPU, and {torch.cuda.device_count()} are visible; name one in "
            "CUDA_VISIBLE_DEVICES"
        )


def train_sft(
    stage: Stage,
    data: TaughtData,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    accelerator: Accelerator,
    run_dir: RunDir,
    *,
    seed: int,
    computation: ModelConfig,
    max_tokens: int = TrainerConfig().max_tokens_per_micro_batch,
    solve: Callable[[], Metrics] | None = None,
    on_metrics: Callable[[Metrics], None] = lambda metrics: None,
) -> Path:
    """Train the whole stage; returns the folder of the model that it hands on. ``model`` is of no use afterwards.

    ``max_tokens`` bounds one forward and backward pass. ``solve`` solves validation problems with ``model`` as it is;
    its metrics are logged with each validation, and choose the best checkpoint where ``schedule.best_by`` says so.
    """
    _start_anew(run_dir, stage.name)
    settings, stage_seed = stage.config.sft, derive_seed(seed, stage.name)
    lengths = [len(example) for example in data.training]
    num_draws = count_draws([len(example.completion_ids) for example in data.training], settings)
    updates = draw_updates(len(lengths), num_draws=num_draws, batch_size=settings.batch_size, seed=stage_seed)
    packing = settings.packing and _can_pack(model, tokenizer)
    # On a CPU attention is computed between all tokens of a row, also where none of it counts.
    row_tokens = min(max_tokens, max(lengths)) if packing and model.device.type == "cpu" else max_tokens
    batches = [split(chosen, lengths, max_tokens=row_tokens, packing=packing) for chosen in updates]
    dataset, per_update = make_dataset(batches, data.training, pad_token_id=pad_token(tokenizer))
    progress = Progress(
        stage,
        data,
        updates,
        model,
        tokenizer,
        run_dir,
        precision=computation.precision,
        max_tokens=max_tokens,
        solve=solve,
        on_metrics=on_metrics,
    )
    with tempfile.TemporaryDirectory(prefix="srl-sft-") as folder, _quiet():
        trainer = _make_trainer(
            model,
            tokenizer,
            dataset,
            progress,
            packing=packing,
            optimizers=_optimizers(model, settings.learning_rate, settings.warmup_share, len(updates)),
            output_dir=folder,
            max_steps=len(updates),
            gradient_accumulation_steps=per_update,
            gradient_checkpointing=computation.gradient_checkpointing,
            use_cpu=accelerator.device.type == "cpu",
            seed=derive_seed(stage_seed, "trl"),
        )
        _run_in(computation.precision, model)
        trainer.train()
    return progress.finish()


def _make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Any,
    progress: Progress,
    *,
    packing: bool,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR],
    **arguments: Any,
) -> Any:
    """SFTTrainer over rows that are made already; it reports to nobody, saves nothing and keeps the order of rows."""
    from transformers import PrinterCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    settings = SFTConfig(
        **arguments,
        per_device_train_batch_size=1,
        train_sampling_strategy="sequential",
        max_grad_norm=_MAX_GRAD_NORM,
        packing=packing,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        bf16=False,  # see _run_in
        logging_steps=1,
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    settings.mixed_precision = "no"  # a launcher's default would otherwise override the recipe without a word
    trainer = SFTTrainer(
        model=model,
        args=settings,
        data_collator=None if packing else padded_collator(pad_token(tokenizer)),
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=[progress],
        optimizers=optimizers,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _optimizers(
    model: PreTrainedModel, highest: float, warmup_share: float, num_updates: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW, and the learning rate of each update."""
    # Paper: Table 6 gives no weight decay; as in the other stages there is none.
    optimizer = torch.optim.AdamW(model.parameters(), lr=highest, weight_decay=0.0)
    rate = functools.partial(
        learning_rate, num_updates=num_updates, warmup_updates=round(warmup_share * num_updates), highest=1.0
    )
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda num_done: rate(num_done + 1))


def _can_pack(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    if keeps_apart(model, pad_token_id=pad_token(tokenizer)):
        return True
    logger.warning(
        "%s cannot read packed examples, or lets them see each other; sft.packing is off: slower, and the same result",
        type(model).__name__,
    )
    return False


def _run_in(precision: Precision, model: PreTrainedModel) -> None:
    """Run forward passes in ``precision``.

    accelerate would do the same, but its number format is one for the whole process, and the stages that sample have
    chosen none.
    """
    forward = model.forward

    @functools.wraps(forward)
    def in_precision(*args: Any, **kwargs: Any) -> Any:
        with autocast(model.device, precision):
            return forward(*args, **kwargs)

    model.forward = in_precision


def _start_anew(run_dir: RunDir, stage: str) -> None:
    """Remove what a stage that was killed has left."""
    run_dir.forget_after(stage, -1)
    folder = run_dir.checkpoint_folder(stage)
    if folder.exists():
        shutil.rmtree(folder)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks of transformers and TRL on settings that are meant as they are."""
    verbosity, trl_logger = transformers_logging.get_verbosity(), logging.getLogger("trl")
    level = trl_logger.level
    transformers_logging.set_verbosity_error()
    trl_logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # on settings of TRL's own
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        trl_logger.setLevel(level)
