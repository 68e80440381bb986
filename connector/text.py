"""Text of others on a terminal or in a log: whatever it holds, it can only be read.

An id, a symbol or a broker's words may hold escape sequences that move the cursor, rename the
window or fill the clipboard, and characters that turn the direction of writing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

# what is no character to look at: controls of both ranges, line and paragraph separators, marks of
# direction and other formats, halves of surrogate pairs; new lines are the writer's own
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def is_printable(text: str) -> bool:
    """Whether every character is one that can be looked at; a space is."""
    return _UNSEEN.search(text) is None


def printable(text: str, *, keep: str = "") -> str:
    r"""The text with an escape such as \x1b in place of each character that is none to look at.

    Args:
        text: of anybody.
        keep: characters that stay, such as new lines where the text is laid out.
    """
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def printable_json(
    value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None
) -> str:
    """JSON for a terminal: readable in every script, and no character that is none to look at."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=default)
    # json escapes what is below a space itself, so all that is found stands inside of strings
    return _UNSEEN.sub(
        lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode()
