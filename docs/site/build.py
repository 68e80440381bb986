"""Builds the documentation as a site with search and the library's reference: `make site`.

    build/site/pages  what is staged: the pages of the repository, in their own folders, so that
                      their links hold as they stand; a page of each file that they link to; a
                      page of each part of the library's public names
    build/site/html   the site

Exit code 1, with the reason, on a link without a target, a name that the reference does not
find, a docstring that does not fit its signature: whatever the builder complains of.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OUT = ROOT / "build/site"

LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))")
FENCE = re.compile(r"^(```.*?^```|~~~.*?^~~~)", re.MULTILINE | re.DOTALL)
COLOR = re.compile(r"\x1b\[[0-9;]*m")
LANGUAGES = {".avsc": "json", ".py": "python", ".yml": "yaml", ".rs": "rust", ".js": "javascript"}

REFERENCE = {
    # page: its title, and the modules whose names of `connector` it has
    "connections": (
        "Tickers and managers",
        ("connector.kite.client", "connector.kite.config", "connector.kite.feed"),
    ),
    "messages": ("Ticks and messages", ("connector.kite.wire", "connector.codec")),
    "instruments": ("Instruments", ("connector.kite.web",)),
    "errors": ("Errors", ("connector.errors",)),
}


class SiteError(Exception):
    """Something that the site's reader would stumble over."""


def pages() -> dict[str, Path]:
    """Return where each page goes, and the file that it is made of."""
    files = [ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
    return {"index.md": ROOT / "README.md"} | {str(at.relative_to(ROOT)): at for at in files}


def public_names() -> dict[str, str]:
    """Return the names that `connector` imports for type checkers, each with its module."""
    tree = ast.parse((ROOT / "connector/__init__.py").read_text())
    return {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def reference() -> dict[str, str]:
    """Return the pages of the reference, which together have every public name.

    Raises:
        SiteError: a name has no page.
    """
    homeless = public_names()
    texts = {}
    for page, (title, modules) in REFERENCE.items():
        names = [name for name, home in homeless.items() if home.startswith(modules)]
        for name in names:
            del homeless[name]
        entries = "\n\n".join(f"::: connector.{name}" for name in names)
        texts[f"api/{page}.md"] = f"# {title}\n\nImported from `connector`.\n\n{entries}\n"
    if homeless:
        raise SiteError(f"no page of the reference has {', '.join(homeless)}")
    for package in ("compat", "testing"):
        options = "    options:\n      heading_level: 1\n      show_root_full_path: true\n"
        texts[f"api/{package}.md"] = f"::: connector.{package}\n{options}"
    return texts


def rewritten(text: str, source: Path, linked: set[Path]) -> str:
    """Return a page with its links to files of the repository leading to those files' pages.

    Args:
        text: what `source` holds.
        source: whose links are relative to it.
        linked: files and folders that need a page of their own are added to it.

    Raises:
        SiteError: a link leads to nothing in the repository.
    """

    def target(found: re.Match[str]) -> str:
        url = urlsplit(found[0])
        if url.scheme or url.netloc or not url.path:
            return found[0]
        at = (source.parent / unquote(url.path)).resolve()
        if not at.exists() or not at.is_relative_to(ROOT):
            raise SiteError(f"{source.relative_to(ROOT)}: nothing is at {found[0]}")
        if at.suffix == ".md" or at.is_relative_to(ROOT / "docs/images"):
            return found[0]
        linked.add(at)
        return os.path.relpath(ROOT / page_of_source(at), source.parent)

    pieces = FENCE.split(text)
    # every second one is code
    pieces[::2] = [LINK.sub(target, piece) for piece in pieces[::2]]
    return "".join(pieces)


def page_of_source(at: Path) -> str:
    """Return the page that shows a file, or the files of a folder; none begins with a dot."""
    return f"source/{str(at.relative_to(ROOT)).lstrip('.')}.md"


def source_page(at: Path) -> str:
    """Return a page with a file of the repository, or with those of a folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", str(at)], cwd=ROOT, capture_output=True, check=True
    )
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    shown = [f"# {at.relative_to(ROOT)}\n"]
    for file in files:
        language = LANGUAGES.get(file.suffix, file.suffix.removeprefix("."))
        heading = f"## {file.relative_to(at)}\n\n" if at.is_dir() else ""
        shown.append(f"{heading}~~~~~{language}\n{file.read_text().rstrip()}\n~~~~~\n")
    return "\n".join(shown)


def stage(to: Path) -> None:
    """Write all pages into a new folder.

    Raises:
        SiteError: a link leads to nothing, or a public name has no page.
    """
    shutil.rmtree(to, ignore_errors=True)
    linked: set[Path] = set()
    texts = {
        page: rewritten(source.read_text(), source, linked) for page, source in pages().items()
    }
    texts |= {page_of_source(at): source_page(at) for at in sorted(linked)}
    for page, text in (texts | reference()).items():
        (to / page).parent.mkdir(parents=True, exist_ok=True)
        (to / page).write_text(text)
    shutil.copytree(ROOT / "docs/images", to / "docs/images")
    shutil.copy(HERE / "extra.css", to)


def complaints(printed: str) -> list[str]:
    """Return what the builder printed but for its three lines when all is well."""
    quiet = re.compile(r"Build started|No issues found|Build finished in .*")
    lines = COLOR.sub("", printed).splitlines()
    return [line for line in lines if line.strip() and not quiet.fullmatch(line.strip())]


class _Links(HTMLParser):
    """Collects where the elements of a page lead, and what they are fetched from."""

    def __init__(self) -> None:
        super().__init__()
        self.followed: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := named.get(name))}
        to = named.get("src") or named.get("href")
        if to and tag == "a":
            self.followed.append(to)
        elif to and named.get("rel") != "canonical":
            self.fetched.append(to)


def dead_links(html: Path) -> Iterable[str]:
    """Yield what leads nowhere in a built site, or has a reader's browser ask another host."""
    read: dict[Path, _Links] = {}
    for page in html.rglob("*.html"):
        read[page] = _Links()
        read[page].feed(page.read_text())
    for page, links in read.items():
        if page.name == "404.html":  # its links are of the site's root, wherever that will be
            continue
        name = page.relative_to(html)
        for to in (*links.followed, *links.fetched):
            url = urlsplit(to)
            if url.scheme or url.netloc:
                if to in links.fetched and url.scheme != "data":
                    yield f"{name}: fetches {to}"
                continue
            at = (page.parent / unquote(url.path)).resolve() if url.path else page
            at = at / "index.html" if at.is_dir() else at
            if not at.exists():
                yield f"{name}: nothing is at {to}"
            elif url.fragment and at in read and unquote(url.fragment) not in read[at].anchors:
                yield f"{name}: no such heading: {to}"


def build() -> None:
    """Stage and build the site.

    Raises:
        SiteError: there is something to complain of.
    """
    stage(OUT / "pages")
    shutil.copy(HERE / "zensical.toml", OUT)
    done = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"],
        cwd=OUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    found = complaints(done.stdout) or list(dead_links(OUT / "html"))
    if found or done.returncode:
        raise SiteError("\n".join(found) or f"zensical ended with {done.returncode}")


if __name__ == "__main__":
    try:
        build()
    except SiteError as error:
        raise SystemExit(f"the site is not whole:\n{error}") from None
