"""Settings whose value is in a file of its own, such as a mounted Secret: NAME_file beside NAME."""

from __future__ import annotations

from pathlib import Path

from connector.files import UnusableFileError, read_bounded

MAX_SETTING_FILE_BYTES = 4096
"""A file with the value of one setting is read up to so many bytes."""


def read_setting(path: Path) -> str:
    """The text in a file, without the space and line breaks around it.

    Raises:
        UnusableFileError: there is no such file, it is too long, empty, or no text.
    """
    content = read_bounded(path, MAX_SETTING_FILE_BYTES)
    try:
        # a file written by an editor or echo ends with a line break, which is no part of a secret
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise UnusableFileError("is not UTF-8") from None
    if not text:
        raise UnusableFileError("is empty")
    if not text.isprintable():
        raise UnusableFileError("holds a line break or another control character")
    return text


def fresh(value: str, path: Path | None) -> str:
    """What the file of a setting holds now; what was read before while it cannot be read.

    Args:
        value: what was read before.
        path: the file; None where the value is no file's.
    """
    if path is None:
        return value
    try:
        return read_setting(path)
    except UnusableFileError:  # it is being replaced, or was taken away: brokers tell what is wrong
        return value
