"""Name of a library that only some similarities need -> the library, or what to install.

The decision a reader would question: these libraries are looked for when a recipe's rewards are built, long before
the first reward, and imported when the first reward is computed: a missing one ends a run before it has begun, and
choosing one similarity never imports another's library.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from srl.errors import ConfigError


def import_extra(module: str, *, extra: str) -> Any:
    """The module, whose package comes with ``pip install 'supervised-rl[extra]'``. Raises ConfigError without it."""
    check_extra(module, extra=extra)
    return importlib.import_module(module)


def check_extra(module: str, *, extra: str) -> None:
    """Raises ConfigError where the package of ``module`` is not installed; imports nothing."""
    package = module.partition(".")[0]
    try:
        is_there = importlib.util.find_spec(package) is not None
    except ValueError:  # a module that was put in place by hand has no specification
        is_there = False
    if not is_there:
        raise ConfigError(
            f"reward.similarity needs the package {package}, which is not installed; run "
            f"pip install 'supervised-rl[{extra}]' or choose another similarity"
        )
