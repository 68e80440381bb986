"""What may be shown of text that somebody else wrote: no secret, no control, and not all of it.

An answer, a close reason or a page of a gateway may repeat the request, and with it the
access_token: as it is, percent-encoded, in base64, hex or JSON escapes, wrapped over lines, or cut
off in the middle. All of these are one case here. Text and secret are both reduced to their
letters and digits, and each piece of a secret that both have in common is masked. So whoever knows
a secret redacts first and cuts afterwards; `foreign` does both.

An id, a symbol or a broker's words may also hold escape sequences that move the cursor, rename the
window or fill the clipboard, and characters that turn the direction of writing: `printable` shows
them as escapes.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

MASK = "***"
MAX_FOREIGN_CHARS = 300
"""Somebody else's words are cut to so many characters in errors, events and pages of ours."""
MAX_SEARCHED_CHARS = 8 * 1024
"""A foreign text that is going to be cut is searched so far: what is behind is dropped unread."""
MAX_QUOTED_CHARS = 12
"""A wrong value is quoted up to so many characters in the error about it."""
MIN_SECRET_CHARS = 6
"""Shorter secrets are not searched for: they would blot out ordinary words."""

_PIECE_CHARS = 8
"""Letters and digits that a text may not have in common with a long secret."""
_OWN_WORDS = (
    "kafkasaslusername", "kafkasaslpassword", "kafkasslkeypassword", "registrypassword",
    "accesstokenfile", "apisecretfile", "kiteconnector",
)  # fmt: skip
"""Names of ours, by their letters: a piece of a secret that is one of these betrays nothing, and
masked it would take the setting out of the advice to look at it."""
_LONG_CHARS = 16
"""Letters and digits from which on a secret is masked in pieces: those of shorter secrets may be
ordinary words, so that these are masked as a whole only."""

# one written character: an escape of URLs (also escaped again), of JSON and Python, of HTML; a tag,
# which may stand between two halves; anything else. Runs of backslashes are bounded: each one of
# thousands would be followed to the end of all, which takes seconds
_WRITTEN = re.compile(
    r"%(?:25)*(?:[uU]00)?(?P<url>[0-9a-fA-F]{2})"
    r"|\\{1,16}(?:(?:u00|U000000|x)(?P<text>[0-9a-fA-F]{2})"
    r"|[ux]\{0{0,6}(?P<braced>[0-9a-fA-F]{2})\})"
    r"|&#(?:[xX]0{0,6}(?P<hex>[0-9a-fA-F]{2})|0{0,6}(?P<decimal>[0-9]{2,3}));?|<[^<>]{0,40}>"
    r"|\\{1,16}(?:u[0-9a-fA-F]{4}|[nrtbfv])|.",
    re.DOTALL,
)
# what is no character to look at: controls of both ranges, line and paragraph separators, marks of
# direction and other formats, halves of surrogate pairs; new lines are the writer's own
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    r"\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
# a line has none of them, nor any other space: also what JSON may name and no encoding can hold
_CONTROL = re.compile(rf"(?:{_UNSEEN.pattern}|[ \xa0])+")


class Redactor:
    """Takes secrets that it knows out of texts."""

    def __init__(self, *secrets: str | None) -> None:
        self._secrets: set[str] = set()
        # pieces to look for, by their length
        self._pieces: dict[int, set[str]] = {}
        self.hide(*secrets)

    def __repr__(self) -> str:
        return f"Redactor({len(self._secrets)} secrets)"

    def hide(self, *secrets: str | None) -> None:
        """Take these secrets out too, from now on."""
        for secret in secrets:
            if secret and len(secret) >= MIN_SECRET_CHARS and secret not in self._secrets:
                self._secrets.add(secret)
                for written in _encodings(secret):
                    plain = "".join(_letters(written)[0])
                    size = _PIECE_CHARS if len(plain) >= _LONG_CHARS else len(plain)
                    if size >= MIN_SECRET_CHARS:
                        pieces = (plain[at : at + size] for at in range(len(plain) - size + 1))
                        self._pieces.setdefault(size, set()).update(
                            piece for piece in pieces if not any(piece in own for own in _OWN_WORDS)
                        )

    def redact(self, text: str) -> str:
        """The same text with a mask in place of every piece of a secret."""
        for secret in self._secrets:  # also those that have hardly a letter or digit
            text = text.replace(secret, MASK)
        letters, spans = _letters(text)
        plain = "".join(letters)
        hit: set[int] = set()
        for size, pieces in self._pieces.items():
            for at in range(len(plain) - size + 1):
                if plain[at : at + size] in pieces:
                    hit.update(range(at, at + size))
        if not hit:
            return text
        parts: list[str] = []
        done = 0
        for number in sorted(hit):
            start, end = spans[number]
            # what stands between two masked letters stays, so that JSON remains JSON
            if start > done or not parts:
                parts += [text[done:start], MASK]
            done = end
        return "".join([*parts, text[done:]])

    def foreign(self, text: str | bytes | bytearray, max_chars: int = MAX_FOREIGN_CHARS) -> str:
        """Somebody else's words as they may be shown: redacted, on one line, and then cut."""
        if not isinstance(text, str):
            text = text[:MAX_SEARCHED_CHARS].decode(errors="replace")
        return cut(one_line(self.redact(text[:MAX_SEARCHED_CHARS])), max_chars)


def quoted(value: object) -> str:
    """What somebody gave, as an error may repeat it: its beginning, on one line, in quotes.

    It may be a secret that was pasted into the wrong place.
    """
    if not isinstance(value, str):
        return cut(str(value), MAX_QUOTED_CHARS + 1)
    text = repr(value[:MAX_QUOTED_CHARS])
    return text if len(value) <= MAX_QUOTED_CHARS else f"{text}…"


def one_line(text: str) -> str:
    """Text with a space in place of white space, control and invisible characters."""
    return _CONTROL.sub(" ", text).strip()


def cut(text: str, max_chars: int = MAX_FOREIGN_CHARS) -> str:
    """The beginning of a text, with an ellipsis where something is left out."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"


def first_of(items: Sequence[object], most: int) -> str:
    """So many of the items, separated by commas, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more


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
    """JSON for a terminal: readable in every script, and no character that is none to look at.

    JSON has no NaN and nothing infinite: where somebody else's value has, its name stands instead.
    """

    def written(document: Any, *, finite: bool) -> str:
        return json.dumps(
            document, indent=indent, ensure_ascii=False, default=default, allow_nan=not finite
        )

    try:
        text = written(value, finite=True)
    except ValueError:
        named = json.loads(written(value, finite=False), parse_constant=str)
        text = written(named, finite=True)
    # json escapes what is below a space itself, so all that is found stands inside of strings
    return _UNSEEN.sub(
        lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text
    )


def _encodings(secret: str) -> Iterable[str]:
    """The secret as it may stand in a text, but for escapes of single characters."""
    data = secret.encode(errors="surrogatepass")
    yield secret
    yield data.hex()
    # its place among other bytes decides what base64 makes of it: three ways, and the characters
    # that depend on the neighbours left out
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode()
        yield text[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]


def _letters(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """Letters and digits of a text in small, escapes resolved; and where each stands in it."""
    letters: list[str] = []
    spans: list[tuple[int, int]] = []
    if not any(sign in text for sign in "%\\&<"):
        for at, character in enumerate(text):
            if character.isalnum():
                letters.append(character.lower()[:1])
                spans.append((at, at + 1))
        return letters, spans
    for written in _WRITTEN.finditer(text):
        code = written["url"] or written["text"] or written["braced"] or written["hex"]
        if code is not None:
            character = unquote_to_bytes(f"%{code}").decode("latin-1")
        elif written["decimal"] is not None:
            character = chr(int(written["decimal"]))
        else:
            character = written[0]
        if len(character) == 1 and character.isalnum():
            letters.append(character.lower()[:1])
            spans.append(written.span())
    return letters, spans


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode()
