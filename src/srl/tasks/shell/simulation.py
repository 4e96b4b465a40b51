"""The few commands of the expert's scripts, without a shell: the corpus needs a hundred thousand of them.

What comes back is what bash and coreutils print; a test runs both on the same folders.
"""

from __future__ import annotations

from collections.abc import Mapping


class SimulatedFolder:
    """A folder in memory; names that end with a slash are folders."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = dict(files)

    def run(self, command: str) -> str:
        """Run a command of the scripts and give its output, without the line break at its end.

        Raises ValueError for any other command.
        """
        name, *words = command.split(" ")
        if name == "echo" and len(words) == 3 and words[1] in (">", ">>"):
            before = self.files.get(words[2], "") if words[1] == ">>" else ""
            self.files[words[2]] = f"{before}{words[0]}\n"
            return ""
        if name == "ls" and not words:
            return "\n".join(sorted({path.partition("/")[0] for path in self.files}))
        if name == "cat":
            return "\n".join(self.files.get(word, _missing(name, word)).removesuffix("\n") for word in words)
        if name == "rm":
            return "\n".join(_missing(name, word) for word in words if self.files.pop(word, None) is None)
        if name == "wc" and words[0] == "-l":
            return f"{self.files[words[1]].count(chr(10))} {words[1]}"
        if name == "tail" and words[:2] == ["-n", "1"]:
            return self.files[words[2]].split("\n")[-2]
        if name == "mv":
            target = words[1] + words[0] if words[1].endswith("/") else words[1]
            self.files[target] = self.files.pop(words[0])
            return ""
        raise ValueError(f"the simulation does not know the command {command!r}")


def _missing(command: str, name: str) -> str:
    return f"{command}: {name}: No such file or directory"
