"""Commands: what counts as the same, what as another, what is not read; and that hostile text ends."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter

import pytest
from hypothesis import example, given, settings
from reward_laws import check_laws, texts

from srl.rewards.alignment import align
from srl.rewards.shell import shell_similarity, strip_fence
from srl.rewards.shell_parse import MAX_PARSED_CHARACTERS, parse_shell
from srl.rewards.similarity import sequence_similarity

PIECES = [
    "ls", " -la", " --x=1", " 'a b'", ' "$x"', " | ", " && ", "; ", "\n", "cat <<EOF\nx\nEOF\n", "(", ")",
    "for i in a; do ", "done", "if ", "then ", "fi", " > f", " 2>&1", "$(", "`", "A=1 ", "# c", "\\", "```bash\n",
    "\n```", "{ ", "}", "[[ ", "]] ",
]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "target"),
    [
        ("ls -la", "ls -a -l"),
        ("ls 'src'", 'ls "src"'),
        ("ls src", "ls ./src/"),
        ("cat a\\ b", "cat 'a b'"),
        ("cd /a;ls", "cd /a\nls"),
        ("ls  # look", "ls"),
        ("ls \\\n  -l", "ls -l"),
        ("grep -rn foo .", "grep -n -r foo ."),
        ("grep -A 3 -n foo f", "grep -n -A3 foo f"),
        ("head -5 f", "head -n 5 f"),
        ("head f -n5", "head -n 5 f"),
        ("grep --include=*.py -r foo .", "grep -r foo . --include '*.py'"),
        ("pytest --tb=short t.py", "pytest t.py --tb short"),
        ("find . -type f -name '*.py'", 'find . -name "*.py" -type f'),
        ("A=1 B=2 make", "B=2 A='1' make"),
        ("sort < in > out", "sort > ./out < in"),
        ("cat > f <<EOF\nx = 1\nEOF", "cat >f <<'END'\nx = 1\nEND"),
        ("echo ${x}", "echo $x"),
        ("echo 'é \U0001f600' {\u4e2d", 'echo "é \U0001f600" {\u4e2d'),
        ("export A='1'", "export A=1"),
        ("```bash\nls -l\n```", "ls -l"),
        ("```mswea_bash_command\nls -l\n```", "ls -l"),
        ("<bash_code>\nls -l\n</bash_code>", "ls -l"),
    ],
)
def test_the_same_command(action, target):
    assert shell_similarity(action, target) == 1.0
    assert shell_similarity(target, action) == 1.0


@pytest.mark.parametrize(
    ("action", "target", "expected"),
    [
        ("cat a.py", "cat b.py", 2 / 4),  # the program of two words
        ("ls src", "cat src", 0.25 * 2 / 4),  # the argument alone, for another program
        ("git log -3", "git diff -3", 0.25 * 2 / 4),
        ("ls -l src", "ls -a src", 4 / 6),
        ("ls a b", "ls b a", 4 / 6),  # arguments keep their order
        ("cd /a && ls", "cd /a; ls", 6 / 8),  # what joins them is a word of four
        ("ls > a", "ls > b", 2 / 4),
        ("ls > o 2>&1", "ls 2>&1 > o", 2 / 4),  # here the order counts
        ("A=1 ls", "A=2 ls", 2 / 4),
        ("find . ! -name a -type f", "find . -type f ! -name a", 10 / 14),  # "! -name a" moved: the rest is aligned
        ("ls", "", 0.0),
        ("head -n 5 f", "head -n 6 f", (2 + 2 + 2) / 8),  # program, flag and file without the value
    ],
)  # fmt: skip
def test_what_differs_costs_its_words(action, target, expected):
    assert shell_similarity(action, target) == pytest.approx(expected)


def test_the_gains_are_aligned_in_order():
    assert shell_similarity("a; b; c", "a; c") == pytest.approx((2 + 4) / 8)  # 5 words against 3
    assert align([[0, 1], [1, 0]]) == 1
    assert align([[3, 0, 2], [0, 0, 0], [0, 2, 2.5]]) == 5.5


def test_scripts_and_documents_count_by_their_text():
    action, target = "cat > f <<EOF\nx = 1\ny = 2\nEOF", "cat > f <<EOF\nx = 1\ny = 3\nEOF"
    text = sequence_similarity("x = 1\ny = 2\n", "x = 1\ny = 3\n")
    assert shell_similarity(action, target) == pytest.approx((4 + 12 * text) / 16)  # two words, and six in the text
    near = shell_similarity("sed -i 's/foo/bar/g' f", "sed -i 's/foo/baz/g' f")
    assert shell_similarity("sed -i 's/foo/bar/g' f", "sed -i '/x/d' f") < near < 1.0
    assert shell_similarity('python -c "print(1 + 1)"', 'python -c "print(1 + 2)"') > 0.9


@pytest.mark.parametrize(
    "text", ["ls |", "echo 'a", "if x; then", "$(ls", "a )", "x" * (MAX_PARSED_CHARACTERS + 1), "a\0b"]
)
def test_what_does_not_parse_is_compared_as_text(text):
    assert parse_shell(text) is None
    assert shell_similarity(text, "ls -la") == sequence_similarity(text, "ls -la")


def test_comments_alone_are_compared_as_text():
    assert shell_similarity("# one", "# two") == sequence_similarity("# one", "# two")


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("```\nls\n```", "ls"),
        ("  ```sh\nls\n\nls\n```\n", "ls\n\nls"),
        ("look: ```sh\nls\n```", "look: ```sh\nls\n```"),
        ("cat > a.md <<EOF\n```sh\nls\n```\nEOF", "cat > a.md <<EOF\n```sh\nls\n```\nEOF"),
        ("```", "```"),
    ],
)
def test_only_a_block_around_everything_is_taken_away(text, stripped):
    assert strip_fence(text) == stripped


def test_structure_around_commands():
    words = [command.words for command in parse_shell("for f in a b; do cat $f; done > out") or []]
    assert words == [["for", "f", "a", "b"], ["cat", "$f"], ["done"]]
    words = [command.words for command in parse_shell("f() { ls; }; if ! f; then exit 1; fi") or []]
    assert words == [["function", "f"], ["{"], ["ls"], ["}"], ["if"], ["!"], ["f"], ["exit", "1"], ["fi"]]
    words = [command.words for command in parse_shell("case $x in a|b) ls;; *) pwd;; esac") or []]
    assert words == [["case", "$x"], ["in", "a", "b"], ["ls"], ["in", "*"], ["pwd"], ["esac"]]
    (command, after) = parse_shell("A=1 python - <<'E' > out && ls\nprint()\nE\n") or []
    assert (command.words[0], command.assignments, command.redirections) == ("python", ["A=1"], [">out"])
    assert command.texts == ["print()\n"]
    assert (after.connector, after.words) == ("&&", ["ls"])
    (background,) = parse_shell("sleep 5 &") or []
    assert background.redirections == ["&"]
    assert shell_similarity("for f in a; do b; done; c", "for f in a; do b; c; done") < 1.0


@settings(max_examples=120, deadline=None)
@given(texts(PIECES), texts(PIECES))
@example("", "")
@example("\ud800", "\udfff")
@example("# a", "#  a")
@example(" --x=1\x13{\U000e6a88", "{1\U0001dc3f\U000ee550")  # ended the process: the parser reads beyond its tables
def test_laws(action, target):
    check_laws(shell_similarity, action, target)


@pytest.mark.parametrize(
    "piece", ["(", "$(", "a|", "a=(", "`", "<<A\n", "{ ", "ls 'a b' ", "a;", "if a; then ", "\0", "'"]
)
@pytest.mark.parametrize("length", [MAX_PARSED_CHARACTERS - 1, 100_000])
def test_hostile_texts_end(piece, length):
    text = (piece * length)[:length]
    started = time.perf_counter()
    assert shell_similarity(text, text[:-1] + "x") >= 0.0
    assert time.perf_counter() - started < 20


def test_real_actions(shared_data):
    """Nearly all of what agents ran parses; each is like itself and hardly like the others."""
    kinds = Counter()
    actions = []
    for path in sorted(shared_data("swe/miniswe").glob("*.traj.json"))[:15]:
        for message in json.loads(path.read_text("utf-8"))["messages"]:
            if message["role"] == "assistant" and message["content"].count("```bash\n") == 1:
                action = message["content"].split("```bash\n", 1)[1].split("\n```", 1)[0]
                kinds[parse_shell(action) is not None] += 1
                actions.append(action)
    assert kinds[True] > 200
    assert kinds[False] <= 0.03 * kinds.total()
    assert all(shell_similarity(f"```bash\n{action}\n```", action) == 1.0 for action in actions)
    neighbours = [shell_similarity(one, other) for one, other in itertools.pairwise(actions)]
    assert sum(neighbours) < 0.5 * len(neighbours)
