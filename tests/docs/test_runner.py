"""The runner of the documentation notices when a page is wrong."""

from pathlib import Path

import pytest

from tests.support.docs_pages import ROOT, Block, Page
from tests.support.docs_runner import PageError, PageRunner, matches


@pytest.fixture
def execute(tmp_path):
    """A function that executes a page given as text; the directory that it worked in."""
    runners = []

    def run(text: str) -> Path:
        page = Page(ROOT / "page.md", text)
        runner = PageRunner(page, tmp_path)
        runners.append(runner)
        for block in page.blocks:
            runner.run(block)
        return tmp_path / "work"

    yield run
    for runner in runners:
        runner.close()


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n"


def test_block_knows_its_line_language_and_file():
    page = Page(ROOT / "page.md", "# Title\n\n`a/b.yaml`:\n\n```yaml\nx: 1\n```\n")

    assert page.blocks == [Block("page.md", 5, "yaml", "x: 1\n", "a/b.yaml")]


def test_block_behind_a_file_name_is_that_file(execute):
    work = execute("`sub/launch.sh`:\n\n" + fenced("bash", "#!/bin/bash\nexit 3"))

    assert (work / "sub/launch.sh").read_text() == "#!/bin/bash\nexit 3\n"


def test_file_name_inside_a_sentence_names_no_file(execute):
    work = execute("Then see `a.txt`:\n\n" + fenced("text", "anything"))

    assert not list(work.iterdir())


def test_python_blocks_share_names_and_directory(execute):
    work = execute(
        fenced("python", "x = 41")
        + fenced("python", "open('x.txt', 'w').write(str(x + 1)); y = 5")
        + fenced("python", ">>> y\n5")
    )

    assert (work / "x.txt").read_text() == "42"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "raise ValueError('no')"),
        ("python", ">>> 1 + 1\n3"),
        ("python", "import sys; sys.exit(0)"),
        ("bash", "false\ntrue"),
        ("console", "$ echo one\ntwo"),
        ("console", "$ exit 2"),
        ("console", "echo no prompt"),
        ("yaml", "no_such_key: 1"),
        ("yaml", "a: [1"),
        ("json", "{"),
        ("rust", "fn main() {}"),
    ],
)
def test_wrong_block_is_an_error(execute, language, text):
    with pytest.raises(Exception) as caught:
        execute(fenced(language, text))

    assert caught.type is PageError or caught.type.__name__ in (
        "ParserError",
        "JSONDecodeError",
    )


def test_directory_and_variables_last_from_block_to_block(execute):
    work = execute(
        fenced("console", "$ mkdir sub && cd sub\n$ export A='b \"c\"'")
        + fenced("bash", 'echo "$A" > a.txt')
        + fenced("python", "open('p.txt', 'w').close()")
    )

    assert (work / "sub/a.txt").read_text() == 'b "c"\n'
    assert (work / "sub/p.txt").exists()


def test_command_may_go_on_in_further_lines(execute):
    execute(fenced("console", "$ echo a \\\n> b\na b\n$ true"))


@pytest.mark.parametrize(
    ("expected", "output", "is_match"),
    [
        ("a\nb", "a\nb\n", True),
        ("a  b", "a b\n\n", True),
        ("a", "a\nb\n", False),
        ("a\n...", "a\n", True),
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("a\n...\nd", "a\nb\n", False),
        ("took ... s", "took 1.2 s\n", True),
        ("took ... s", "took 1.2\n1 s\n", False),
    ],
)
def test_output_is_compared_but_for_dots(expected, output, is_match):
    assert matches(expected.splitlines(), output) is is_match
