"""The reference pages that are written from the code say what the code says now."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docs.generate import EXPLANATION, PAGES, generated
from docs.generator import markdown
from docs.generator.yaml_files import WITHOUT_EFFECT
from motoko.columns import BUILT_IN
from motoko.config.retry import CLASSES
from tests.support.docs_pages import ROOT

PACKAGE = ROOT / "motoko"


@pytest.mark.parametrize("file", generated(), ids=lambda file: file.name)
def test_page_equals_what_the_code_gives_now(file):
    assert file.read_text() == generated()[file], "run `make docs`"


def test_check_fails_for_a_stale_page_and_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("docs.generate.REFERENCE", tmp_path / "docs" / "reference")
    from docs.generate import main

    for name in ("reference", "explanation"):
        (tmp_path / "docs" / name).mkdir(parents=True)
    before = main(["--check"])
    written = main([])
    after = main(["--check"])

    assert (before, written, after) == (1, 0, 0)


@pytest.mark.slow
def test_generator_is_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_no_page_shows_what_differs_between_runs_of_the_generator():
    odd = [f.name for f, text in generated().items() if re.search(r" at 0x|<built-in", text)]

    assert not odd


@pytest.mark.parametrize("key", sorted(WITHOUT_EFFECT))
def test_key_that_is_said_to_have_no_effect_is_not_used(key):
    pattern = re.compile(rf"config\.{key}\b")
    elsewhere = [f for f in PACKAGE.rglob("*.py") if f.parent.name not in ("config", "cli")]

    users = [
        str(f) for f in elsewhere if f.name != "check.py" and pattern.search(f.read_text())
    ]

    assert len(elsewhere) > 20
    assert not users


def test_template_must_get_all_its_parts():
    with pytest.raises(ValueError, match=r"states\.md wants"):
        markdown.page("states.md", meanings="x")


def test_docstring_becomes_markdown():
    text = "First ``a\nb``.\n\nA tree::\n\n    root\n      leaf\n\nEnd `c`."

    made = markdown.from_docstring(text)

    assert made == "First `a b`.\n\nA tree:\n```text\nroot\n  leaf\n```\n\nEnd `c`."


def test_every_template_is_used():
    templates = {file.name.removesuffix(".in") for file in markdown.TEMPLATES.iterdir()}

    assert templates == {*PAGES, *EXPLANATION}


def test_docs_target_of_make_writes_the_pages():
    makefile = Path(ROOT / "Makefile").read_text()

    assert re.search(r"^docs:.*\n\t.*-m docs\.generate$", makefile, re.MULTILINE)


def declared_dependencies():
    """What pyproject.toml asks for: name, lower bound and, if there is one, upper bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    texts = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["plot"],
    ]
    return [re.fullmatch(r"([\w-]+)>=([\d.]+),<([\d.]+)", text).groups() for text in texts]


@pytest.mark.parametrize(("name", "low", "high"), declared_dependencies())
def test_page_on_dependencies_has_each_with_its_bounds(name, low, high):
    page = (ROOT / "docs" / "explanation" / "dependencies.md").read_text()
    rows = [line for line in page.splitlines() if re.match(rf"\| .*\b{name}\b", line, re.I)]

    assert any(f"| {low}, below {high} |" in row for row in rows)


def test_page_on_dependencies_has_those_of_development():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    page = (ROOT / "docs" / "explanation" / "dependencies.md").read_text()

    names = [re.match(r"[\w-]+", text).group() for text in project["dependency-groups"]["dev"]]

    assert names
    assert [name for name in names if name not in page] == []


@pytest.mark.parametrize("page", ["explanation/states", "howto/retry", "reference/bd-yaml"])
def test_page_on_failures_has_all_classes_and_what_is_tried_again_by_itself(page):
    text = " ".join((ROOT / "docs" / f"{page}.md").read_text().split())

    assert [name for name in CLASSES if name not in text] == []
    assert re.search(r"whose process or host went away.{,30} is tried again.{,11} twice", text)


def test_every_name_of_a_built_in_entry_is_in_the_table():
    text = (ROOT / "docs/reference/bd-yaml.md").read_text()
    table = text.partition("## Built-in entries of runs")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == BUILT_IN
