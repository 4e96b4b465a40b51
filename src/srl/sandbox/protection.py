"""What the kernel lets this process shut out, found out once by trying."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from srl.errors import ConfigError

LAUNCHER = (os.path.realpath(sys.executable), "-I", "-S", str(Path(__file__).with_name("launcher.py")))
"""The program that runs a command; its arguments follow."""
_TRY_SECONDS = 20.0
_NAMES = ("network", "filesystem")


@dataclass(frozen=True, kw_only=True, slots=True)
class Protection:
    """What commands are kept from. The limits on time, memory, processes and sizes hold always."""

    network: bool
    """Nothing outside can be reached, this machine's own servers included."""
    filesystem: bool
    """Nothing but the folder can be written, other processes cannot be seen, and none survives its command."""
    bubblewrap: str = ""
    """The program that shuts commands in where this process may not do so itself."""
    reason: str = ""
    """Why something is missing, as the kernel says it."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What the launcher is told."""
        if self.bubblewrap:
            return (f"bubblewrap={self.bubblewrap}",)
        return tuple(name for name in _NAMES if getattr(self, name))

    def require(self, *names: str) -> None:
        """Raise ConfigError unless all of ``names`` are there."""
        for name in names:
            if name not in _NAMES:
                raise ConfigError(f"there is no protection {name!r}; there are {', '.join(_NAMES)}")
            if not getattr(self, name):
                raise ConfigError(
                    f"commands cannot be kept from the {name} here ({self.reason or 'not allowed'}); run where "
                    "namespaces are allowed, see docs/sandbox.md, or do not require it and accept what that means"
                )


@cache
def detect_protection() -> Protection:
    """Try the most, then less. Raises ConfigError where there is no Linux."""
    if sys.platform != "linux":
        raise ConfigError(f"the sandbox needs Linux; this is {sys.platform}")
    attempts = [Protection(network=True, filesystem=True)]
    program = shutil.which("bwrap")
    if program is not None and os.geteuid() != 0:  # root is allowed all that bubblewrap is
        attempts.append(Protection(network=True, filesystem=True, bubblewrap=program))
    attempts += [Protection(network=True, filesystem=False), Protection(network=False, filesystem=False)]
    reason = ""
    for protection in attempts:
        failure = _try(protection.parts)
        if not failure:
            return replace(protection, reason=reason)
        reason = reason or failure
    raise ConfigError(f"no command can be run, not even without isolation: {reason}")


def _try(parts: tuple[str, ...]) -> str:
    """Run a command that does nothing; why that is not possible, "" if it is."""
    with tempfile.TemporaryDirectory(prefix="srl-sandbox-") as folder:
        arguments = ["1", ",".join(parts), folder, "-1", "/run", "5", str(2**30), "64", str(2**20), "64", "true"]
        result = subprocess.run(
            [*LAUNCHER, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRY_SECONDS,
            cwd="/",
            env={},
            check=False,
        )
    if result.returncode == 0:
        return ""
    return (result.stdout or result.stderr).decode(errors="replace").strip()[-200:] or f"exit {result.returncode}"
