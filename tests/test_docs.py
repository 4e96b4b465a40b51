"""The documentation says what the code does: links, generated pages, format tables, differences from the paper."""

import doctest
import importlib.util
import re
import tomllib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
import yaml

import srl
from srl.config import CONFIG_TYPES
from srl.engines.scripted import ScriptedEngine
from srl.evaluation.runner import EvaluationSettings, evaluate
from srl.evaluation.solve import ChainLimits
from srl.evaluation.step_accuracy import step_accuracy
from srl.parsing import parse_solution, parse_step
from srl.types import ParseStatus, Problem, SamplingParams, Source, StepExample

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "srl"
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")


def load_make_reference():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_reference = load_make_reference()


def paper_tags():
    """(file, text) of every ``# Paper:`` comment in the package."""
    return [
        (path.relative_to(SOURCE).as_posix(), match[1].strip())
        for path in sorted(SOURCE.rglob("*.py"))
        for match in re.finditer(r"# ?Paper:(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def listed_differences():
    """(file, first words) of every item in the list of docs/method.md."""
    section = METHOD.split("## 9. Differences from the paper", 1)[1]
    items = re.findall(r"^- .*$", section, re.MULTILINE)
    parsed = [re.match(r'- \[`([\w/.]+)`\]\(\.\./src/srl/([\w/.]+)\), "([^"]+)": ', item) for item in items]
    for item, match in zip(items, parsed, strict=True):
        assert match, f"an item that names no file and first words: {item}"
        assert match[1] == match[2], item
    return [(match[1], match[3]) for match in parsed if match]


def test_every_paper_tag_is_listed_once_and_every_item_has_its_tag():
    tags, listed = paper_tags(), listed_differences()
    assert len(tags) > 20
    for file, text in tags:
        items = [words for other, words in listed if other == file and text.startswith(words)]
        assert len(items) == 1, f"{file}: '# Paper: {text}' is listed {len(items)} times in docs/method.md"
    for file, words in listed:
        assert len(words.split()) >= 3, f"too few words to be found by: {words}"
        matching = [text for other, text in tags if other == file and text.startswith(words)]
        assert len(matching) == 1, f'docs/method.md lists {file}, "{words}", which {len(matching)} tags begin with'


@pytest.mark.parametrize("name", sorted(make_reference.PAGES))
def test_generated_pages_are_up_to_date(name):
    assert name not in make_reference.outdated_pages(), "run: python docs/make_reference.py"


def test_every_setting_has_its_string():
    assert make_reference.undocumented_fields() == []
    assert {cls for _, cls in make_reference.tables()} == set(CONFIG_TYPES)
    for cls in CONFIG_TYPES:  # a dataclass without a docstring of its own gets its signature
        assert not (cls.__doc__ or cls.__name__).startswith(cls.__name__), cls


def test_a_field_without_a_string_is_found(monkeypatch):
    @dataclass(frozen=True)
    class Bare:
        told: int = 0
        """What it is."""
        untold: int = 0

        def method(self):
            """No string of a field."""

    monkeypatch.setattr(make_reference, "CONFIG_TYPES", (Bare,))
    assert make_reference.field_strings(Bare) == {"told": "What it is.", "untold": ""}
    assert make_reference.undocumented_fields() == ["Bare.untold"]


def test_check_fails_for_a_page_that_is_out_of_date(tmp_path, monkeypatch):
    tmp_path = tmp_path / "docs"
    tmp_path.mkdir()
    monkeypatch.setattr(make_reference, "FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["make_reference.py", "--check"])
    with pytest.raises(SystemExit, match=r"out of date: configuration\.md, metrics\.md, \.\./README\.md"):
        make_reference.main()
    monkeypatch.setattr("sys.argv", ["make_reference.py"])
    make_reference.main()
    monkeypatch.setattr("sys.argv", ["make_reference.py", "--check"])
    make_reference.main()
    (tmp_path / "metrics.md").write_text("old")
    with pytest.raises(SystemExit, match=r"out of date: metrics\.md"):
        make_reference.main()


def test_the_scores_that_are_documented_are_those_that_are_written(tmp_path):
    engine = ScriptedEngine(lambda prompt, index: r"<think>2</think>\boxed{2}")
    settings = EvaluationSettings(
        num_samples=2,
        sampling=SamplingParams(temperature=1.0, max_completion_tokens=64),
        limits=ChainLimits(max_steps=2),
        context_in="user",
    )
    problem = Problem(problem_id="p", problem="1+1?", answer="2")
    scores = evaluate(engine, [problem], modes=("whole", "stepwise"), settings=settings, output=tmp_path / "e")
    step = StepExample(
        trajectory_id="t", step_index=0, num_steps=1, problem="1+1?", context=(), title="", target_action="2",
        target_body="2", answer="2", source=Source(file="f", row=0),
    )  # fmt: skip
    options = {"context_in": "user", "title_in_prompt": False, "max_completion_tokens": 64}
    _, of_steps = step_accuracy(engine, [step], **options)
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    names = page.split("The names, with K", 1)[1].split("\n`outcomes`", 1)[0]
    documented = re.findall(r"^\| `([^`]+)`", names, re.MULTILINE)
    assert [score.name.replace("@2", "@K") for score in [*scores, of_steps]] == documented


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"<(?:img|a)[^>]*(?:src|href)=\"([^\"]+)\"", text)
    for target in targets:
        if re.match(r"(https?|mailto):", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{page.name}: {target} does not exist"
        assert path.is_relative_to(ROOT), f"{page.name}: {target} leaves the repository"
        if anchor:
            assert anchor in anchors(path), f"{page.name}: {path.name} has no heading #{anchor}"


def anchors(path):
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_code_names_in_links_exist_in_the_linked_files():
    found = re.findall(r"\[`(\w+)`\]\(\.\./(src/srl/[\w/]+\.py)\)", METHOD)
    assert len(found) > 20
    for name, file in found:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^(def|async def|class) {name}\b", text, re.MULTILINE), f"{file} defines no {name}"


@pytest.mark.parametrize(
    ("parse", "heading", "statuses"),
    [
        (parse_step, "| status | example |", set(ParseStatus)),
        (
            parse_solution,
            "| status | example of a whole solution |",
            set(ParseStatus) - {ParseStatus.MISSING_THINK, ParseStatus.TEXT_BEFORE_THINK},
        ),
    ],
)
def test_the_examples_of_the_format_tables_read_as_they_say(parse, heading, statuses):
    table = METHOD.split(heading, 1)[1].split("\n\n", 1)[0]
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| (stop|length) \| (\S+)", table, re.MULTILINE)
    assert len(rows) == table.count("\n") - 1
    for status, text, finish_reason, reward in rows:
        assert parse(text, finish_reason).status == status, text
        assert (reward in ("-1", "0")) == (status != "ok")
    assert {status for status, _, _, _ in rows} == statuses


@pytest.mark.parametrize("page", [page for page in PAGES if ">>> " in page.read_text("utf-8")], ids=lambda p: p.name)
def test_python_in_the_pages_runs(page):
    examples = doctest.DocTestParser().get_doctest(page.read_text("utf-8"), {}, page.name, str(page), 0)
    assert examples.examples
    result = doctest.DocTestRunner(verbose=False).run(examples)
    assert result.failed == 0


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in required}
    section = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("## Dependencies", 1)[1]
    assert names == set(re.findall(r"^\| ([\w-]+) \| (?!why)", section, re.MULTILINE))


def test_the_order_of_imports_is_the_one_that_is_checked():
    from test_architecture import ORDER

    section = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("## Order of imports", 1)[1]
    block = re.search(r"(?:^    .*\n)+", section, re.MULTILINE)[0]
    assert re.split(r",\s*", block.strip()) == ORDER


def test_version_and_paper_of_the_citation():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == srl.__version__
    assert "2510.25992" in citation["references"][0]["url"]
    assert f"## {srl.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_contributing_stays_readable():
    assert len((ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines()) <= 200
