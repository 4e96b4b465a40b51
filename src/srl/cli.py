"""The command ``srl``: decompose, inspect, overlap, rewrite, train, evaluate, diagnose, report, study, quickstart.

Commands import what they need when they run, so that help and the data tools answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Annotated

import tyro
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.text import Text

import srl
from srl.config import RunConfig
from srl.errors import ConfigError, SRLError
from srl.inspection.visible import escape_controls
from srl.recipe import load_recipe

USAGE_ERROR = 2
PIPE_CLOSED = 141
"""What a shell reports of a program that SIGPIPE ended."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Train the run that a recipe describes. Any setting of the recipe can be overridden."""

    run: Annotated[RunConfig, tyro.conf.arg(name="")]
    resume: bool = False
    """Continue the run in run_dir where its newest checkpoint stands."""
    dry_run: bool = False
    """Print the resolved run, the number of examples and the token budget, and stop."""


def train_command(arguments: Sequence[str]) -> None:
    """``srl train RECIPE [--resume] [--dry-run] [--setting value ...]``."""
    if not arguments or arguments[0].startswith("-"):
        raise ConfigError(
            "srl train needs a recipe first, for instance: srl train recipes/quickstart.toml --dry-run. "
            "All its settings: srl train recipes/quickstart.toml --help"
        )
    recipe = load_recipe(arguments[0])
    options = tyro.cli(
        TrainOptions, default=TrainOptions(run=recipe), args=arguments[1:], prog=f"srl train {arguments[0]}"
    )
    console = Console()
    if options.dry_run:
        from srl.dry_run import print_dry_run

        print_dry_run(options.run, console)
        return
    from srl.stages import run_with_display

    folder = run_with_display(options.run, console, resume=options.resume)
    console.print(f"final model: {folder}\nnext: srl report {options.run.run_dir}", highlight=False)


def _tyro_command(load: Callable[[], Callable[..., None]], name: str) -> Callable[[Sequence[str]], None]:
    return lambda arguments: tyro.cli(load(), args=arguments, prog=f"srl {name}")


def _decompose() -> Callable[..., None]:
    from srl.decomposition.command import decompose_command

    return decompose_command


def _inspect() -> Callable[..., None]:
    from srl.inspection.command import inspect_command

    return inspect_command


def _overlap() -> Callable[..., None]:
    from srl.overlap.command import overlap_command

    return overlap_command


def _rewrite(arguments: Sequence[str]) -> None:
    from srl.rewriting.command import rewrite_command

    rewrite_command(arguments)


def _evaluate() -> Callable[..., None]:
    from srl.evaluation.command import evaluate_command

    return evaluate_command


def _diagnose() -> Callable[..., None]:
    from srl.diagnosis.command import diagnose_command

    return diagnose_command


def _report() -> Callable[..., None]:
    from srl.report.html import report_command

    return report_command


def _study() -> Callable[..., None]:
    from srl.study.command import study_command

    return study_command


def _quickstart() -> Callable[..., None]:
    from srl.quickstart.command import quickstart_command

    return quickstart_command


COMMANDS: dict[str, tuple[str, Callable[[Sequence[str]], None]]] = {
    "decompose": ("expert solutions and logs -> step examples", _tyro_command(_decompose, "decompose")),
    "inspect": ("data as the model will see it", _tyro_command(_inspect, "inspect")),
    "overlap": ("training problems that are in a benchmark", _tyro_command(_overlap, "overlap")),
    "rewrite": ("solutions without steps -> numbered steps, by an LLM", _rewrite),
    "train": ("recipe -> trained policy in a run folder", train_command),
    "evaluate": ("model and problems -> scores with intervals", _tyro_command(_evaluate, "evaluate")),
    "diagnose": ("run folder -> what the reward paid for", _tyro_command(_diagnose, "diagnose")),
    "report": ("run folder -> one HTML page", _tyro_command(_report, "report")),
    "study": ("methods x seeds at one budget -> tables with intervals", _tyro_command(_study, "study")),
    "quickstart": ("all of it on an embedded task, in minutes on a CPU", _tyro_command(_quickstart, "quickstart")),
}


def main() -> None:
    """Entry point of the command ``srl``."""
    arguments = sys.argv[1:]
    _allow_all_characters()
    console = Console(stderr=True)
    logging.basicConfig(format="%(message)s", handlers=[RichHandler(console=console, show_time=False, show_path=False)])
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help_text())
        return
    if arguments[0] == "--version":
        print(f"srl {srl.__version__}")
        return
    if arguments[0] not in COMMANDS:
        console.print(f"[red]error:[/red] unknown command {escape(arguments[0])!r}; srl has {', '.join(COMMANDS)}")
        sys.exit(USAGE_ERROR)
    try:
        COMMANDS[arguments[0]][1](arguments[1:])
    except SRLError as error:
        # As plain text: a name found in a folder of data may hold markup or the escape sequences of a terminal.
        console.print(Text.assemble(("error:", "red"), " ", escape_controls(str(error))))
        sys.exit(USAGE_ERROR)
    except BrokenPipeError:  # `srl inspect FILE | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(PIPE_CLOSED)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich has noticed it, and would exit with 1
            sys.exit(PIPE_CLOSED)
        raise
    except KeyboardInterrupt:
        console.print("stopped; what was saved is whole, and --resume continues a training run", highlight=False)
        sys.exit(130)


def _allow_all_characters() -> None:
    """What the output cannot show, such as a file name that is not UTF-8, is shown as an escape and no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _help_text() -> str:
    lines = ["srl: Supervised Reinforcement Learning from expert trajectories", "", "commands:"]
    lines += [f"  srl {name:<11} {summary}" for name, (summary, _) in COMMANDS.items()]
    return "\n".join([*lines, "", "srl COMMAND --help tells more; start with: srl quickstart"])


if __name__ == "__main__":
    main()
