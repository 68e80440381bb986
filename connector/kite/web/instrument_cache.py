"""The list of instruments on disk, kept between starts."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Final, NamedTuple

from connector.files import beside, check_file, make_private_directory
from connector.kite.web.http import CHUNK_BYTES, BodyError, Gunzip, usable_etag

MAX_CACHE_BYTES: Final = 26 * 2**20
"""The kept list has at most so many bytes, unpacked: as one of Kite's, with characters replaced."""
_TIMES_MS: Final = range(10**14)
"""Times until the year 5138."""
_CACHE_FORMAT = "kite-connector instruments 1"


class CachedInstruments(NamedTuple):
    """A list of instruments as it was kept on disk."""

    csv: str
    fetched_ms: int
    etag: str | None


class InstrumentCache:
    """Keeps the list between starts, so that a start does not depend on the REST API.

    One gzipped file: a line of JSON about the list, then the list. It is replaced in one step, and
    whatever is not whole, or came from another API, is as if it were not there.

    Args:
        path: the file.
        root: URL of the API that the list comes from: a simulator's tokens are not Kite's.
    """

    def __init__(self, path: Path, root: str) -> None:
        self.path = path
        self._root = root

    def save(self, csv_text: str, *, fetched_ms: int, etag: str | None = None) -> None:
        """Replace the kept list.

        Raises:
            OSError: the file cannot be written; the old one is as it was.
        """
        about = {
            "format": _CACHE_FORMAT,
            "root": self._root,
            "fetched_ms": fetched_ms,
            "etag": etag,
            "characters": len(csv_text),
        }
        make_private_directory(self.path.parent)
        with beside(self.path) as file:
            with gzip.GzipFile("", "wb", compresslevel=3, fileobj=file, mtime=0) as packed:
                # its length tells a whole file from one that was cut within the list
                packed.write(f"{json.dumps(about)}\n".encode())
                # in pieces: the list is there once already
                for start in range(0, len(csv_text), CHUNK_BYTES):
                    packed.write(csv_text[start : start + CHUNK_BYTES].encode())
            file.flush()
            os.fsync(file.fileno())  # before the rename, or the name may stand for an empty file
            Path(file.name).replace(self.path.resolve())

    def load(self) -> CachedInstruments | None:
        """The kept list; None where there is none, or it is damaged, too long or another API's."""
        try:
            head, _, csv_text = self._unpacked().decode().partition("\n")
            about = json.loads(head)
            if (about["format"], about["root"]) != (_CACHE_FORMAT, self._root):
                return None
            if about["characters"] != len(csv_text):
                return None
            fetched_ms = about["fetched_ms"]
            # nothing that any clock says: it could be shown as no time either
            if type(fetched_ms) is not int or fetched_ms not in _TIMES_MS:
                return None
            return CachedInstruments(csv_text, fetched_ms, usable_etag(about["etag"]))
        except (OSError, BodyError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _unpacked(self) -> bytes:
        unpacked, parts = Gunzip(MAX_CACHE_BYTES), []
        check_file(self.path)
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                parts.append(unpacked.feed(chunk))
        unpacked.end()
        return b"".join(parts)
