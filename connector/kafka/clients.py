"""The producing client of librdkafka, by one of two ways: natively, or through confluent-kafka.

The native one (`_native`) hands a frame's records over in one call and hears of failures alone. It
needs the compiled extension, and librdkafka's shared library in a version that it knows; without
either confluent-kafka's client takes its place, at several times the CPU a record. The environment
variable KITE_CONNECTOR_PRODUCER chooses: `native`, `confluent`, or `auto`, which takes the native
one where it can.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import structlog

from connector.embedded.librdkafka import candidates
from connector.errors import SettingsError
from connector.kafka.config import ClientLog
from connector.kafka.confluent_client import ConfluentClient
from connector.kafka.spool_format import Record

VARIABLE: Final = "KITE_CONNECTOR_PRODUCER"
_CONFLUENTS: Final = frozenset(
    {"plugin.library.paths", "sasl.oauthbearer.metadata.authentication.type"}
)
"""Properties that confluent-kafka does something for, before or after librdkafka."""


class ClientCallbacks(NamedTuple):
    """Whom a client calls, from its `poll` alone."""

    failed: Callable[[Record, int, int, Any], None]
    """(record, sequence, partition, error) of a record that was not written."""
    error: Callable[[Any], None]
    """What is wrong with the client or the brokers, as a KafkaError."""
    statistics: Callable[[str], None]
    """librdkafka's JSON document, once a second."""
    throttle: Callable[[Any], None]
    """A broker's quota holds the client back, as a ThrottleEvent."""
    log: ClientLog


Client: TypeAlias = ConfluentClient
"""A producing client that reports failures alone; one thread uses it. For annotations: the native
one has the same methods, and is known only at run time."""


class Way(NamedTuple):
    """How clients are made in this process."""

    native: Any
    """The class; None where there is none."""
    reason: str
    """Why there is none."""


# cached: the library is loaded and checked once, and the warning said once, for all clients
@functools.cache
def chosen(choice: str) -> Way:
    """What an environment's choice comes to; the first time the library is loaded and checked.

    Raises:
        SettingsError: the choice is none that is known, or `native` and cannot be had.
    """
    if choice not in {"auto", "native", "confluent"}:
        raise SettingsError.of(VARIABLE, f"{choice!r} is none of auto, native, confluent")
    if choice == "confluent":
        return Way(None, f"{VARIABLE}=confluent")
    try:
        return Way(_load(), "")
    except (ImportError, OSError) as error:
        # who asked for it by name is not to run at several times the CPU without noticing
        if choice == "native":
            raise SettingsError.of(VARIABLE, f"native: {error}") from error
        log = structlog.get_logger("connector.kafka")
        log.warning("native_producer_unavailable", reason=str(error))
        return Way(None, str(error))


def _load() -> Any:
    # imported here: without a compiler the extension was not built, and nothing else fails
    native = importlib.import_module(f"{__package__}._native")
    tried = []
    for path in candidates():
        try:
            native.load(str(path))
        except OSError as error:
            tried.append(str(error))  # all of them are told: the first may not be the one meant
        else:
            return native.Client
    raise OSError("; ".join(tried) or "librdkafka's shared library is not found")


def new_client(properties: dict[str, Any], handlers: ClientCallbacks, wake: int = -1) -> Client:
    """A client with these properties.

    Args:
        properties: of librdkafka.
        handlers: whom it calls.
        wake: a descriptor to write a byte to when there is something to poll; -1: none. Only the
            native client does so.

    Raises:
        KafkaException: librdkafka refuses a property.
        SettingsError: as `chosen`.
    """
    native, reason = chosen(os.environ.get(VARIABLE, "auto"))
    # librdkafka alone would take no notice of them
    if special := sorted(properties.keys() & _CONFLUENTS):
        native, reason = None, f"kafka.client has {', '.join(special)}"
    if native is None:
        return ConfluentClient(properties, handlers, reason)
    client: Client = native(properties, handlers, wake)
    return client
