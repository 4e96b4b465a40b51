"""The page: complete, self-contained, and safe whatever the run's texts hold."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srl.report.html import report_command, write_report
from srl.report.samples import Piece, choose_groups, clip_pieces, match_texts
from srl.rewards.similarity import sequence_similarity
from srl.saved_run.load import load_run

HOSTILE = (
    "</style></script></div></title><script>alert(1)</script><img src=x onerror=alert(1)>"
    "\"' onload='alert(1)' {{ 7 * 7 }} {% raw %} &lt; \x00\x08\x1b[31m \ud800 \udfff \u202e \ufffe ]]> <!-- <b>"
)
TEXT = st.text(st.characters(exclude_categories=()), max_size=40)


class Page(HTMLParser):
    """What a browser would find: tags, attributes, texts by class."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.marked: list[str] = []
        self._in_mark = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._in_mark = tag == "mark"

    def handle_endtag(self, tag: str) -> None:
        self._in_mark = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_mark:
            self.marked.append(data)


def read_page(run_dir: Path) -> Page:
    return Page(write_report(run_dir).read_text("utf-8"))


def assert_self_contained(page: Page) -> None:
    links = [value for name, value in page.attributes if name in ("href", "src", "srcset", "action", "xlink:href")]
    assert all(link.startswith("#") for link in links)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert page.tags.count("script") == page.tags.count("style") == page.tags.count("title") == 1
    assert not {"img", "iframe", "link", "object", "embed", "form", "b", "base"} & set(page.tags)


def test_page_of_a_whole_run(run_dir: Path) -> None:
    path = write_report(run_dir)
    page = Page(path.read_text("utf-8"))
    assert path == run_dir / "report.html"
    assert path.stat().st_size < 300_000
    assert_self_contained(page)
    for text in ("quickstart", "Scores", "62.0 %", "55.3 to 68.7 %", "200 problems, 1,600 samples", "Training reward"):
        assert text in page.text
    for text in ("similarity of (action, target), autojunk off", "torch 2.13.0", "234d74e6f1"):
        assert text in page.text
    assert "What is missing" not in page.text
    assert page.text.count("of the group") >= 12
    assert page.attributes.count(("class", "chart")) == 12 + 3 + 2  # one of the signals is not logged in rlvr
    assert page.attributes.count(("class", "bars")) == 2 + 1  # results are compared in srl only
    assert page.attributes.count(("class", "interval")) == 9
    assert not list(run_dir.glob("*.tmp"))


def test_every_text_of_a_run_is_escaped(run_dir: Path) -> None:
    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoil(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoil(item, key) for item in value]
        return HOSTILE if isinstance(value, str) and key not in ("stage", "kind", "context_in", "role") else value

    stage = HOSTILE.replace("/", "|").replace("\x00", "").replace("\ud800", "").replace("\udfff", "")
    for path in run_dir.rglob("*.json*"):
        lines = [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines()
        spoiled = [spoil(json.loads(line)) for line in lines]
        for record in spoiled:
            record["stage"] = stage if record.get("stage") == "rlvr" else record.get("stage")
        if path.name == "scores.json":
            spoiled[0]["models"][HOSTILE] = spoiled[0]["models"].pop("srl")
            spoiled[0]["seconds"][HOSTILE] = 1.5
        if path.name == "environment.json":
            spoiled[0]["versions"][HOSTILE] = HOSTILE
            spoiled[0]["hardware"][HOSTILE] = HOSTILE
        if path.name == "config.json":
            spoiled[0]["stages"][stage] = spoiled[0]["stages"].pop("rlvr")
        path.write_text("".join(json.dumps(record) + "\n" for record in spoiled))
    for path in (run_dir / "rollouts").glob("rlvr-*"):
        if path.stem.endswith(("01", "20")):
            path.rename(path.with_name(f"{stage[:200].encode()[:200].decode(errors='ignore')}{path.name[4:]}"))
    data = write_report(run_dir).read_bytes()
    page = Page(data.decode("utf-8"))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", data.decode("utf-8"))
    assert_self_contained(page)
    assert page.text.count("<script>alert(1)</script>") > 40
    assert "⟨U+0000⟩⟨U+0008⟩⟨U+001B⟩[31m ⟨U+D800⟩" in page.text
    assert "{{ 7 * 7 }}" in page.text


def test_only_our_own_script_and_style_may_run(run_dir: Path) -> None:
    html = write_report(run_dir).read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    for tag in ("script", "style"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1].replace("&#43;", "+")


@pytest.mark.parametrize(
    ("remove", "says"),
    [
        ("scores.json", "No scores yet"),
        ("rollouts", "No rollouts were saved"),
        ("config.json", "config.json is missing"),
        ("environment.json", "environment.json is missing"),
        ("metrics.jsonl", "metrics.jsonl is missing"),
    ],
)
def test_page_of_an_incomplete_run_says_what_is_missing(run_dir: Path, remove: str, says: str) -> None:
    path = run_dir / remove
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = read_page(run_dir)
    assert "What is missing" in page.text
    assert says in page.text
    assert_self_contained(page)


def test_run_that_only_began(new_run: Callable[..., Path]) -> None:
    path = new_run(num_updates={"srl": 1})
    assert "Stage rlvr has no updates yet." in read_page(path).text
    (path / "metrics.jsonl").write_text("")
    for file in (path / "rollouts").iterdir():
        file.write_text("")
    page = read_page(path)
    assert "No update has been logged yet" in page.text
    assert "No rollouts to show." in page.text


def test_marked_text_is_what_matches_and_rlvr_marks_nothing(run_dir: Path) -> None:
    explained = 2  # the words "Marked" and "paler" of the explanation
    assert len(read_page(run_dir).marked) > explained
    for path in (run_dir / "rollouts").glob("srl-*"):
        path.unlink()
    without = read_page(run_dir)
    assert without.marked == []
    assert "the reference answer" in without.text


def test_settings_of_the_reward_reach_the_marks(run_dir: Path) -> None:
    config = json.loads((run_dir / "config.json").read_text())
    config["stages"]["srl"]["reward"] |= {"first_argument": "target", "autojunk": True}
    (run_dir / "config.json").write_text(json.dumps(config))
    group = {"prompt": {"messages": []}, "target": "diet", "kept": True, "advantages": [1.0], "rollouts": []}
    group["rollouts"] = [{"text": "<think></think>tide", "status": "ok", "action": "tide", "reward": 0.5}]
    for path in (run_dir / "rollouts").iterdir():
        path.unlink()
    (run_dir / "rollouts" / "srl-00001.jsonl").write_text(json.dumps(group) + "\n")
    page = read_page(run_dir)
    assert "2 · 2 / 8 characters match, similarity 0.5" in page.text
    assert "similarity of (target, action), autojunk on" in page.text


@settings(deadline=None)  # the similarity is compiled when it is first called
@given(TEXT, TEXT, st.booleans(), st.booleans())
def test_pieces_join_to_the_texts_and_count_what_the_reward_counts(
    action: str, target: str, autojunk: bool, action_is_first: bool
) -> None:
    match = match_texts(action, target, autojunk=autojunk, action_is_first=action_is_first)
    assert "".join(piece.text for piece in match.action) == action
    assert "".join(piece.text for piece in match.target) == target
    assert [p.text for p in match.action if p.size] == [p.text for p in match.target if p.size]
    texts = (action, target) if action_is_first else (target, action)
    if action or target:
        assert match.similarity == sequence_similarity(*texts, autojunk=autojunk)


def test_long_texts_are_clipped_with_their_length() -> None:
    pieces, num_clipped = clip_pieces([Piece(text="a" * 5000, size=5000), Piece(text="b" * 5000, size=0)])
    assert [len(piece.text) for piece in pieces] == [5000, 1000]
    assert num_clipped == 4000


def test_rollouts_come_from_first_middle_and_last_updates_of_each_stage(run_dir: Path) -> None:
    run = load_run(run_dir)
    chosen = [(group.stage, group.update) for group in choose_groups(run)]
    assert chosen == [("srl", 1), ("srl", 21), ("srl", 40), ("rlvr", 1), ("rlvr", 11), ("rlvr", 20)]


def test_unreadable_rollouts_give_way_to_the_next_file(run_dir: Path) -> None:
    (run_dir / "rollouts" / "srl-00001.jsonl").write_text('{"rollouts": [{"te')
    run = load_run(run_dir)
    assert choose_groups(run)[0].update == 2
    assert [note for note in run.notes if "srl-00001.jsonl" in note] == []
    assert "The last line of srl-00001.jsonl is incomplete" in read_page(run_dir).text


def test_command_writes_the_page_and_says_where(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_command(run_dir)
    assert str(run_dir / "report.html") in capsys.readouterr().out
