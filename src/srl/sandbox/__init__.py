"""Shell commands in a folder of their own, with limits and, where the kernel allows it, shut in (docs/sandbox.md).

``Sandbox(Path(folder), required=("network", "filesystem")).run("cat sum.txt").output`` is what the command printed.
"""

from srl.sandbox.protection import Protection, detect_protection
from srl.sandbox.run import CommandResult, Limits, Sandbox, SandboxError

__all__ = ["CommandResult", "Limits", "Protection", "Sandbox", "SandboxError", "detect_protection"]
