"""Files with credentials that change while the service runs, and live clients that follow.

A name and password are handed to each client (`connector.kafka.logins`). All else librdkafka reads
once, when a client is made: certificates, keys, and the secret that tokens are asked with. Where
one of those changes, a client of its own tries what the files hold now. Once a broker has let it
in, whoever owns a client is told that it is outdated, and makes another at a moment that loses
nothing. Until then everybody goes on with what they have: a wrong certificate stops nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connector.errors import ConnectorError, SettingsError
from connector.files import MAX_PEM_BYTES, UnusableFileError, read_bounded
from connector.kafka.config import ClientLog, client_properties, refused_properties
from connector.kafka.diagnosis import Complaints
from connector.kafka.logins import Logins, alike, changes
from connector.settings.models import KafkaSettings
from connector.settings.secret_files import fresh

POLL_SECONDS: Final = 5.0
"""The files are looked at so often: a mounted volume may tell of no change."""
TRY_SECONDS: Final = 10.0
"""A broker has so long to let a client in that has the new files."""
PAUSE_MAX_SECONDS: Final = 60.0
"""Files that brokers refuse are tried again after so long at most."""

_FILE: Final = ".location"
# what librdkafka keeps of values, not files: they may come out of files of ours
_READ_ONCE: Final = frozenset({"ssl.key.password", "sasl.oauthbearer.client.secret"})


class Standing:
    """Whether the files hold something else by now than when a client was made."""

    outdated = False
    """Set once, by whatever thread looks at the files."""


# clients are made in the threads that use them; the files are looked at from the event loop
_lock: Final = threading.Lock()
_live: Final[weakref.WeakKeyDictionary[Standing, KafkaSettings]] = weakref.WeakKeyDictionary()


def standing(kafka: KafkaSettings) -> Standing:
    """The standing of a client that is made next; its owner keeps it as long as the client."""
    made = Standing()
    with _lock:
        _live[made] = kafka
    return made


def outdate(kafka: KafkaSettings) -> int:
    """Tell the owners of all clients of a service that there is something new; how many."""
    with _lock:
        outdated = [made for made, other in _live.items() if alike(other, kafka)]
    for made in outdated:
        made.outdated = True
    return len(outdated)


def fingerprint(kafka: KafkaSettings) -> bytes:
    """A digest of what a client would read once; of a file that cannot be read, that it cannot."""
    try:
        properties = client_properties(kafka)
    except SettingsError:
        return b""
    digest = hashlib.sha256()
    for name, value in sorted(properties.items()):
        content = str(value).encode() if name in _READ_ONCE else _content(name, str(value))
        # with name and length: content that moves from one file to another is a change
        digest.update(b"%s %d " % (name.encode(), len(content)) + content)
    return digest.digest()


def _content(name: str, value: str) -> bytes:
    if not name.endswith(_FILE):
        return b""
    try:
        return read_bounded(Path(value), MAX_PEM_BYTES)
    except UnusableFileError:  # a folder of authorities, too, which is not followed
        return b""


def refusal(kafka: KafkaSettings, name: str) -> str | None:
    """Why no broker lets in a client that has what the files hold now; None where one does.

    Blocks, and ends the client before it returns.
    """
    complaints = Complaints(kafka)
    own = {"client.id": f"{name}-renewal", "error_cb": complaints}
    try:
        with refused_properties(kafka):
            admin = AdminClient(client_properties(kafka, **own), logger=ClientLog("renewal"))
    except ConnectorError as exc:
        return str(exc)
    try:
        admin.list_topics(timeout=TRY_SECONDS)
    except KafkaException as exc:
        return str(complaints.unreachable(exc, admin))
    return None


def wanted(kafka: KafkaSettings) -> bool:
    """Whether there is a file to look at."""
    files = (
        kafka.ssl_ca_file,
        kafka.ssl_certificate_file,
        kafka.ssl_key_password_file,
        kafka.oauth.client_secret_file,
        kafka.oauth.ca_file,
    )
    named = any(name.endswith(_FILE) for name in kafka.client)
    return changes(kafka) or named or any(path is not None for path in files)


class Renewals:
    """Looks at the files, and has every client that lives use what they hold.

    Args:
        kafka: the settings with the files.
        name: the connector's, with which the trying client's id begins.
        hide: is told each new secret before anybody uses it.
        monotonic: seconds, for pauses between tries.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        name: str,
        hide: Callable[[str], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kafka = kafka
        self._name = name
        self._hide = hide
        self._monotonic = monotonic
        self._logins = Logins(kafka, hide)
        self._used = fingerprint(kafka)  # of what all clients are made with
        self._tried = self._used  # of what was tried last, whether brokers took it or not
        self._again_at = 0.0  # monotonic seconds: when what was refused is tried again
        self._pause_seconds = POLL_SECONDS  # the next one, doubled with each refusal
        self.refused: str | None = None
        """Why what the files hold now is not used; None where it is."""
        self._log = structlog.get_logger("connector.kafka")

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._logins.look()
            await self.look()

    async def look(self) -> bool:
        """Tell clients to make way where the files changed and brokers take them; whether so."""
        found = await asyncio.to_thread(fingerprint, self._kafka)
        # back to what is used: somebody took a mistake back
        if found == self._used:
            self._tried, self.refused = found, None
            return False
        now = self._monotonic()
        if found == self._tried and now < self._again_at:
            return False
        if found != self._tried:
            self._tried, self._pause_seconds = found, POLL_SECONDS
        # before it is tried: an error may repeat it
        for secret in self._secrets():
            self._hide(secret)
        reason = await asyncio.to_thread(refusal, self._kafka, self._name)
        if reason is not None:
            if reason != self.refused:
                self._log.error("kafka_files_refused", reason=reason)
            self.refused = reason
            self._again_at = now + self._pause_seconds
            self._pause_seconds = min(2 * self._pause_seconds, PAUSE_MAX_SECONDS)
            return False
        # as it was looked at: should the files have changed since, the next look sees it
        self._used, self.refused = found, None
        self._log.info("kafka_files_renewed", clients=outdate(self._kafka))
        return True

    def _secrets(self) -> list[str]:
        kafka = self._kafka
        found = []
        if kafka.ssl_key_password is not None:
            found.append(
                fresh(kafka.ssl_key_password.get_secret_value(), kafka.ssl_key_password_file)
            )
        if kafka.oauth.client_secret is not None:
            secret = kafka.oauth.client_secret.get_secret_value()
            found.append(fresh(secret, kafka.oauth.client_secret_file))
        return found
