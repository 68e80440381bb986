import re
from importlib.resources import files

import pytest

from connector.service import page_files

FOLDER = files("connector.service") / "page"
NAMES = sorted(file.name for file in FOLDER.iterdir())


def test_each_file_has_its_path_and_type():
    assert page_files.answer("/").content_type.startswith("text/html")
    for name in NAMES:
        path = "/" if name == page_files.INDEX else f"/page/{name}"
        assert page_files.answer(path).body == (FOLDER / name).read_bytes()
    assert page_files.answer("/page/../page_files.py") is None
    assert page_files.answer("/page/") is None


def test_nothing_comes_from_elsewhere_and_nothing_can_be_put_in():
    policy = dict(rule.split(" ", 1) for rule in page_files.CONTENT_SECURITY_POLICY.split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {
        "'self'"
    }
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    headers = dict(page_files.answer("/").headers)
    assert headers["Content-Security-Policy"] == page_files.CONTENT_SECURITY_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_names_no_other_host_and_makes_no_html_of_text(name):
    text = (FOLDER / name).read_text()
    assert set(re.findall(r"https?://[^\s\"'>]+", text)) <= {"http://www.w3.org/2000/svg"}
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                 "new Function", "srcdoc", "javascript:"):  # fmt: skip
        assert sink not in text
    if name.endswith(".html"):
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)


def test_everything_that_a_script_looks_for_is_in_the_page():
    page = (FOLDER / page_files.INDEX).read_text()
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    asked = {
        found
        for name in NAMES
        if name.endswith(".js")
        for found in re.findall(r'byId\("([^"]+)"\)', (FOLDER / name).read_text())
    }
    assert asked <= ids
    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', page):
        assert page_files.answer(f"/{name}") is not None
