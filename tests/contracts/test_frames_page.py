"""The page from ticks to a chart shows the example's own code, and its picture."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "frames.md"


def test_its_code_is_that_of_the_example_which_is_run():
    code = (ROOT / "examples" / "python" / "bars.py").read_text()
    blocks = re.findall(r"```python\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    assert all(block in code for block in blocks)


def test_its_picture_is_there():
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", PAGE.read_text())
    assert (PAGE.parent / picture).read_text().startswith("<?xml")
