"""README and docs do what they say: every code block is executed."""

import pytest

from tests.support.docs_pages import LANGUAGES, ROOT, Page, pages
from tests.support.docs_runner import PageRunner

PAGES = pages()


def parameters():
    """The pages that have something to execute, the long ones marked."""
    for page in PAGES:
        if page.is_executable:
            marks = [pytest.mark.slow] if page.is_slow else []
            yield pytest.param(page, id=page.name, marks=marks)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", list(parameters()))
def test_blocks_do_what_the_page_says(page: Page, tmp_path):
    runner = PageRunner(page, tmp_path)
    try:
        for block in page.blocks:
            runner.run(block)
    finally:
        runner.close()


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_every_block_is_of_a_kind_that_is_executed_or_says_text(page: Page):
    odd = [b.place for b in page.blocks if not b.file and b.language not in LANGUAGES]
    indented = [
        line for line in page.text.splitlines() if line.lstrip() != line and "```" in line
    ]

    assert not odd
    assert not indented


def test_tutorial_builds_the_example():
    [page] = [p for p in PAGES if p.name == "docs/tutorial/quickstart.md"]
    example = ROOT / "examples" / "quickstart"

    built = {block.file: block.text for block in page.blocks if block.file}

    assert built == {name: (example / name).read_text() for name in built}
    assert set(built) == {
        str(file.relative_to(example))
        for pattern in ("*.yaml", "*.py", "*/*.yaml", "*/*.py", "*/*.sh")
        for file in example.glob(pattern)
    }
