"""Links between the pages lead somewhere."""

from urllib.parse import urlsplit

import pytest

from tests.support.docs_pages import ROOT, Page, pages

PAGES = {page.path: page for page in pages()}


def broken_links(page: Page) -> list[str]:
    """Links of a page to files or headings that are not there."""
    return [link for link in page.links if not urlsplit(link).scheme and not leads(page, link)]


def leads(page: Page, link: str) -> bool:
    """Whether a link inside the project ends at something."""
    path, _, anchor = link.partition("#")
    target = (page.path.parent / path).resolve() if path else page.path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    there = page if target == page.path else PAGES.get(target)
    return not anchor or (there is not None and anchor in there.anchors)


@pytest.mark.parametrize("page", list(PAGES.values()), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Page):
    assert not broken_links(page)


def test_broken_links_are_found():
    text = (
        "# One two\n[a](no/such.md) [b](#one-two) [c](#three) [`d`](README.md#no) [e](http://x)"
    )
    page = Page(ROOT / "README.md", text)

    assert broken_links(page) == ["no/such.md", "#three", "README.md#no"]


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path not in PAGES:
            continue
        reached.add(path)
        links = [link.partition("#")[0] for link in PAGES[path].links]
        waiting += [(path.parent / link).resolve() for link in links if link]

    assert set(PAGES) - reached == set()
