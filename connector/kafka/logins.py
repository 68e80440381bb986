"""The name and password for the brokers, and live clients that take new ones.

A password in a file may change while the service runs: new clients are made with what the file
holds then, and those that live are given it (librdkafka's `rd_kafka_sasl_set_credentials`). They
use it at their next connection; one that is open stays so.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import structlog
from confluent_kafka import KafkaException

from connector.settings.models import KafkaSettings
from connector.settings.secret_files import fresh


class Login(NamedTuple):
    """A name and its password, in clear: never to be logged."""

    username: str
    password: str


class LoginClient(Protocol):
    """What takes another login while it lives; any thread may call."""

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Use these from the next connection on."""


class Borrowed:
    """A client of confluent-kafka's until it is given back, which has to be before it is closed.

    Its methods may not be called while another thread closes it.
    """

    def __init__(self, client: LoginClient) -> None:
        self._lock = threading.Lock()
        self._client: LoginClient | None = client

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Use these from the next connection on; nothing once it was given back."""
        with self._lock:
            if self._client is not None:
                self._client.set_sasl_credentials(username, password)

    def give_back(self) -> None:
        """Let the client be closed."""
        with self._lock:
            self._client = None


def login_of(kafka: KafkaSettings) -> Login | None:
    """The login as settings and files have it now; None without one."""
    if kafka.sasl_username is None or kafka.sasl_password is None:
        return None
    return Login(
        fresh(kafka.sasl_username, kafka.sasl_username_file),
        fresh(kafka.sasl_password.get_secret_value(), kafka.sasl_password_file),
    )


def changes(kafka: KafkaSettings) -> bool:
    """Whether the login is in files, and so may change."""
    return kafka.sasl_username_file is not None or kafka.sasl_password_file is not None


# clients are made in the threads that use them, and a new login is handed on from the event loop's
_lock: Final = threading.Lock()
# weak: who forgets a client need not tell
_live: Final[weakref.WeakKeyDictionary[LoginClient, KafkaSettings]] = weakref.WeakKeyDictionary()


def follow(kafka: KafkaSettings, client: LoginClient) -> None:
    """Give a client each new login, for as long as it lives."""
    if changes(kafka):
        with _lock:
            _live[client] = kafka


def alike(one: KafkaSettings, other: KafkaSettings) -> bool:
    """Whether two clients are of one service: a topic that is held apart has a smaller queue."""
    size = {"queue_max_messages": 0}
    return one.model_copy(update=size) == other.model_copy(update=size)


class Logins:
    """Looks for a new login of the brokers', and hands it to every client that lives.

    Args:
        kafka: the settings with the files.
        hide: is told each new password before anybody uses it.
    """

    def __init__(self, kafka: KafkaSettings, hide: Callable[[str], None]) -> None:
        self._kafka = kafka
        self._hide = hide
        self._login = login_of(kafka)  # as it was handed on last
        self._log = structlog.get_logger("connector.kafka")

    def look(self) -> bool:
        """Hand on what the files hold, where it is new; returns whether it was."""
        login = login_of(self._kafka)
        if login is None or login == self._login:
            return False
        self._login = login
        # before anybody uses it: a client's first complaint may repeat it
        self._hide(login.password)
        # the calls are made without the lock: one that is being closed is waited for by its own
        with _lock:
            clients = [client for client, kafka in _live.items() if alike(kafka, self._kafka)]
        for client in clients:
            # one that ends meanwhile needs no login
            with contextlib.suppress(KafkaException, RuntimeError):
                client.set_sasl_credentials(*login)
        self._log.info("kafka_login_renewed", username=login.username, clients=len(clients))
        return True
