"""The blocks of code in the documentation, and the shell commands in them, for tests to run."""

import re
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "deploy/helm/kite-connector/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
)
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_DRAWING = re.compile(r"[─│┌→]|^(slot|received) ", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block."""

    page: str
    line: int
    language: str
    text: str

    @property
    def is_shell(self):
        """Whether it is to be typed: blocks without a language are, but for what is only shown."""
        return self.language == "sh" or (not self.language and not _DRAWING.search(self.text))


def blocks(page):
    """The fenced blocks of a page, in order, without the indentation of a list."""
    text = page.read_text("utf-8")
    return [
        Block(
            page.relative_to(ROOT).as_posix(),
            text.count("\n", 0, found.start()) + 1,
            found[2],
            textwrap.dedent(found[3]),
        )
        for found in _FENCED.finditer(text)
    ]


def all_blocks(language=None):
    """Of all pages; of one language, or all."""
    return [
        block
        for page in PAGES
        for block in blocks(page)
        if language is None or block.language == language
    ]


def block_after(page, words):
    """The first block behind the first place where a page has some words."""
    text = (ROOT / page).read_text("utf-8")
    assert words in text, f"{page} does not say: {words}"
    line = text.count("\n", 0, text.index(words)) + 1
    return next(block for block in blocks(ROOT / page) if block.line > line)


def words_of(line):
    """A line of shell as words; pipes and redirections are words too."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    return list(lexer)


def shell_lines(text):
    """The lines of a shell block, those that go on joined."""
    joined = re.sub(r"\\\n\s*", " ", text)
    joined = re.sub(r"\|\n\s*", "| ", joined)
    return [line for line in joined.splitlines() if line.strip()]


def inline_code():
    """(page, text) of what stands between single backquotes."""
    for page in PAGES:
        text = _FENCED.sub("", page.read_text("utf-8"))
        for found in _INLINE.finditer(text):
            yield page.relative_to(ROOT).as_posix(), found[1]
