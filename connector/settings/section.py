"""What sections of the settings have in common: how text is cleaned, and kinds of values."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
)

from connector.redaction import quoted

_UNFIT = {"Cc": "control character", "Cf": "invisible character", "Cs": "broken character",
          "Zl": "line break", "Zp": "line break"}  # fmt: skip


# what would end or begin another part of a URL: urlsplit is lenient
_NO_HOST = re.compile(r"[\s/@?#\\]")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
# a colon in one without brackets is a second address, or half of an IPv6 one; others separate more
_BROKER_HOST = re.compile(r"\[[0-9a-fA-F:.]+(%[\w.-]+)?\]|[^\s/@?#\\:;|\[\]]+")
_UNEXPANDED = re.compile(r"~|.*\$[\w{(]")


def clean(value: object) -> object:
    """Text and secrets without space around them; everything else as it is.

    Raises:
        ValueError: it holds what nobody sees and no setting has: a line break, a NUL, an escape.
    """
    if isinstance(value, SecretStr):
        return SecretStr(str(clean(value.get_secret_value())))
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text.isprintable():
        for place, character in enumerate(text, 1):
            if unfit := _UNFIT.get(unicodedata.category(character)):
                raise ValueError(f"holds the {unfit} U+{ord(character):04X} at place {place}")
    return text


class Section(BaseModel):
    """A part of the settings: frozen, and closed against unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _clean(cls, value: object) -> object:
        """Remove the space around a text that files and shells leave."""
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        return clean(value)


def checked_url(*schemes: str) -> AfterValidator:
    """Return what checks a URL of one of these schemes; raises ValueError for any other text."""

    def check(value: str) -> str:
        if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must begin with {' or '.join(f'{s}://' for s in schemes)}")
        if "@" in value.partition("://")[2].partition("/")[0]:
            raise ValueError("must hold no user or password: URLs are logged")
        if "?" in value or "#" in value:
            raise ValueError(
                "must end with its path: the connector makes the query, and URLs are logged"
            )
        # its port is parsed when it is asked for
        parts = urlsplit(value)
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("has a port that is none") from None
        if not parts.hostname or _NO_HOST.search(parts.netloc):
            raise ValueError("names no host")
        return value.rstrip("/")

    return AfterValidator(check)


WebSocketUrl = Annotated[str, checked_url("wss", "ws")]
HttpUrl = Annotated[str, checked_url("https", "http")]


def _servers(value: str) -> str:
    servers = [server.strip() for server in value.split(",")]
    for server in servers:
        if "@" in server:
            raise ValueError("must hold no user or password: these are sasl_username and so on")
        host, _, port = server.rpartition(":")
        if (
            not _BROKER_HOST.fullmatch(host)
            or not _PORT.fullmatch(port)
            or not 0 < int(port) < 65536
        ):
            raise ValueError(f"{quoted(server)} must be host:port")
    return ",".join(servers)


def _named(value: object) -> object:
    # Python takes it for the folder that the process happens to be started in
    if value == "":
        raise ValueError("is empty: give a path, or null")
    # it would make a folder of that name
    if isinstance(value, str) and _UNEXPANDED.match(value):
        raise ValueError("holds ~ or $, which only a shell replaces: give the whole path")
    return value


BrokerList = Annotated[str, AfterValidator(_servers)]
FilePath = Annotated[Path, BeforeValidator(_named)]
Hours = Annotated[float, Field(ge=0.01, le=1e9)]
"""A retention: Kafka counts it in whole milliseconds, of which none would keep nothing."""
