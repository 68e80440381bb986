"""The documentation's site: what is staged for it, and what fails its build.

`make check` builds the site itself, after these.
"""

import runpy
import tomllib
from pathlib import Path

import pytest

import connector
import connector.compat
import connector.testing

ROOT = Path(__file__).parents[2]
SITE = runpy.run_path(str(ROOT / "docs/site/build.py"))
PAGE = ROOT / "docs/somewhere.md"


def navigated(entries):
    for entry in entries:
        for value in entry.values():
            if isinstance(value, str):
                yield value
            else:
                yield from navigated(value)


def rewritten(text):
    linked = set()
    return SITE["rewritten"](text, PAGE, linked), linked


def test_every_page_is_in_the_navigation_once():
    project = tomllib.loads((ROOT / "docs/site/zensical.toml").read_text())["project"]
    assert sorted(navigated(project["nav"])) == sorted({**SITE["pages"](), **SITE["reference"]()})


def test_the_reference_has_every_public_name_once():
    pages = SITE["reference"]()
    assert all(f"::: connector.{package}\n" in pages[f"api/{package}.md"]
               for package in ("compat", "testing"))  # fmt: skip
    entries = [line.removeprefix("::: connector.") for text in pages.values()
               for line in text.splitlines() if line.startswith("::: ")]  # fmt: skip
    assert sorted(entries) == sorted([*connector.__all__, "compat", "testing"])


def test_links_between_pages_stay_as_they_are():
    text = (
        "[a](settings.md) [b](../SECURITY.md#x) ![c](images/page.png) [d](https://h/x.py) [e](#f)"
    )
    assert rewritten(text) == (text, set())


def test_a_file_that_is_linked_to_gets_a_page():
    text = (
        "[a](../examples/spark/ticks.py) [b](../examples/python) [c](../.github/workflows/ci.yml)"
    )
    changed, linked = rewritten(text)
    assert changed == (
        "[a](../source/examples/spark/ticks.py.md) [b](../source/examples/python.md) "
        "[c](../source/github/workflows/ci.yml.md)"
    )
    assert linked == {
        ROOT / "examples/spark/ticks.py", ROOT / "examples/python",
        ROOT / ".github/workflows/ci.yml",
    }  # fmt: skip


def test_the_page_of_a_file_shows_it_and_that_of_a_folder_each_of_its_files():
    script = ROOT / "examples/python/quick_start.py"
    of_file = SITE["source_page"](script)
    assert of_file.startswith("# examples/python/quick_start.py\n\n~~~~~python\n")
    assert script.read_text().rstrip() in of_file
    of_folder = SITE["source_page"](script.parent)
    headings = [line for line in of_folder.splitlines() if line.startswith("## ")]
    assert "## quick_start.py" in headings
    assert len(headings) == len(list(script.parent.glob("*.py")))


def test_code_is_not_searched_for_links():
    text = "```\n[a](nothing.md)\n```\n"
    assert rewritten(text) == (text, set())


@pytest.mark.parametrize("target", ["nothing.md", "../examples/nothing.py", "../../outside"])
def test_a_link_to_nothing_is_told_with_its_page(target):
    with pytest.raises(SITE["SiteError"], match=f"docs/somewhere.md: nothing is at {target}"):
        rewritten(f"[a]({target})")


def test_whatever_the_builder_says_besides_is_a_complaint():
    quiet = "Build started\nNo issues found\nBuild finished in 5.27s\n"
    assert SITE["complaints"](quiet) == []
    warned = "\x1b[33mWarning:\x1b[0m page does not exist"
    griffe = "griffe: foo.py:6: Parameter 'b' does not appear in the function signature"
    assert SITE["complaints"](f"{griffe}\n{quiet}\n{warned}\n") == [
        griffe, "Warning: page does not exist",
    ]  # fmt: skip


def test_a_site_with_dead_links_or_another_hosts_files_is_not_whole(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/index.html").write_text('<h2 id="there">x</h2><img src="../x.png">')
    (tmp_path / "index.html").write_text(
        '<a href="a/#there">1</a><a href="a/">2</a><a href="https://h/">3</a><a href="#top">4</a>'
        '<p id="top"></p><a href="a/#gone">5</a><a href="b/">6</a><script src="https://h/x.js">'
    )
    assert sorted(SITE["dead_links"](tmp_path)) == [
        "a/index.html: nothing is at ../x.png",
        "index.html: fetches https://h/x.js",
        "index.html: no such heading: a/#gone",
        "index.html: nothing is at b/",
    ]
