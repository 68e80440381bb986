"""The schema registry: which topic has which schema, registering and looking up.

Subjects are `<topic>-value` (TopicNameStrategy). Compatibility is set on a subject before its first
schema, so that no version slips in unchecked. Everything may be repeated: what is there already
keeps its id. Nothing rests on ids being equal across subjects, or on answers that only one
vendor's registry gives.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector import schemas  # type: ignore[attr-defined]  # lies in another folder
from connector.errors import (
    RegistryError,
    RegistryUnreachableError,
    SchemaIncompatibleError,
    SettingProblem,
    SettingsError,
)
from connector.kafka.topics import TopicNames
from connector.settings.models import RegistrySettings

_T = TypeVar("_T")

_NOT_FOUND = 404
_CONFLICT = 409
_SERVER_ERROR = 500
_ADVICE = {
    401: ": check registry.username and registry.password",
    403: ": this account lacks the right; where it may only read, let another one register the "
    "schemas and set registry.register_schemas to false",
}


def topic_schemas(names: TopicNames) -> dict[str, str]:
    """Topic → name of its schema in `connector.schemas`; topics with JSON values are not here."""
    return {
        **dict.fromkeys(names.all_ticks().values(), "tick"),
        names.orders: "order_update",
        names.events: "connection_event",
        names.instruments: "instrument",
    }


def subject_of(topic: str) -> str:
    """The subject of a topic's values."""
    return f"{topic}-value"


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What the registry knows of one topic's schema, as this version of the connector has it."""

    topic: str
    subject: str
    schema: str
    state: Literal["registered", "missing", "compatible", "incompatible"]
    """missing: the subject has no schema yet; compatible, incompatible: it has only others."""
    schema_id: int | None = None
    version: int | None = None
    versions: tuple[int, ...] = ()
    """All versions of the subject."""


async def register_schemas(
    settings: RegistrySettings, names: TopicNames, *, timeout_seconds: float = 10.0
) -> dict[str, int]:
    """Register every schema, or look it up where `register_schemas` is off.

    Returns:
        Topic → schema id, for the framing of its values.

    Raises:
        RegistryUnreachableError: no answer in time, or a server error; trying again may help.
        SchemaIncompatibleError: the subject's compatibility rule forbids it.
        RegistryError: anything else that the registry refuses, such as the credentials.
    """
    return await asyncio.to_thread(_register, settings, names, timeout_seconds)


async def check_schemas(
    settings: RegistrySettings, names: TopicNames, *, timeout_seconds: float = 10.0
) -> list[SchemaStatus]:
    """Compare the shipped schemas with the registry's, and change nothing.

    Raises:
        RegistryUnreachableError: no answer in time, or a server error; trying again may help.
        RegistryError: anything else that the registry refuses.
    """
    return await asyncio.to_thread(_check, settings, names, timeout_seconds)


def registry_client(
    settings: RegistrySettings, *, timeout_seconds: float = 10.0
) -> SchemaRegistryClient:
    """A client of confluent-kafka, which blocks; connects at the first call.

    Raises:
        SettingsError: `ca_file` is of no use.
    """
    configuration: dict[str, object] = {
        "url": settings.url,
        "timeout": timeout_seconds,
        # the connector's callers try again themselves, and say so
        "max.retries": 0,
    }
    if settings.username is not None:
        password = settings.password.get_secret_value() if settings.password else ""
        configuration["basic.auth.user.info"] = f"{settings.username}:{password}"
    if settings.ca_file is not None:
        configuration["ssl.ca.location"] = str(settings.ca_file)
    try:
        # not the plain constructor: that one does not know mock://
        return SchemaRegistryClient.new_client(configuration)
    except ssl.SSLError as exc:
        fault = f"{settings.ca_file} holds no certificate in PEM"
        raise SettingsError([SettingProblem("registry.ca_file", fault)]) from exc
    except OSError as exc:
        fault = f"{settings.ca_file} cannot be read: {exc.strerror}"
        raise SettingsError([SettingProblem("registry.ca_file", fault)]) from exc


def schema_by_id(client: SchemaRegistryClient, schema_id: int) -> str:
    """The text of a registered schema; blocks.

    Raises:
        RegistryUnreachableError: no answer in time, or a server error.
        RegistryError: there is no such id.
    """
    return _ask(f"id {schema_id}", client.get_schema, schema_id).schema_str or ""


def _register(
    settings: RegistrySettings, names: TopicNames, timeout_seconds: float
) -> dict[str, int]:
    # closed at once: its idle connection would stay open as long as the service runs
    with registry_client(settings, timeout_seconds=timeout_seconds) as client:
        return {
            topic: _schema_id(client, settings, subject_of(topic), schema_name)
            for topic, schema_name in topic_schemas(names).items()
        }


def _schema_id(
    client: SchemaRegistryClient, settings: RegistrySettings, subject: str, schema_name: str
) -> int:
    schema = Schema(schemas.text(schema_name), "AVRO")
    if settings.register_schemas:
        _set_compatibility(client, settings, subject)
        try:
            return _ask(subject, client.register_schema, subject, schema)
        except SchemaIncompatibleError:
            # or another replica has just registered it: some registries refuse the second
            there = _found(subject, client.lookup_schema, subject, schema)
            if there is None or there.schema_id is None:
                raise
            return there.schema_id
    registered = _found(subject, client.lookup_schema, subject, schema)
    if registered is None or registered.schema_id is None:
        raise RegistryError(
            subject,
            "the schema is not registered, and registry.register_schemas is off: "
            "register it with `kite-connector schemas register`",
        )
    return registered.schema_id


def _set_compatibility(
    client: SchemaRegistryClient, settings: RegistrySettings, subject: str
) -> None:
    if settings.compatibility is None or settings.url.startswith("mock:"):
        return
    # read first: an account may be allowed to read what it may not write
    current = _found(subject, client.get_compatibility, subject)
    if current != settings.compatibility:
        try:
            _ask(subject, client.set_compatibility, subject, settings.compatibility)
        except SchemaIncompatibleError as error:
            # replicas that start together: Apicurio Registry refuses the second one
            if _found(subject, client.get_compatibility, subject) != settings.compatibility:
                raise RegistryUnreachableError(
                    subject, "its compatibility is being set by somebody else"
                ) from error


def _check(
    settings: RegistrySettings, names: TopicNames, timeout_seconds: float
) -> list[SchemaStatus]:
    with registry_client(settings, timeout_seconds=timeout_seconds) as client:
        return [
            _status(client, topic, schema_name)
            for topic, schema_name in topic_schemas(names).items()
        ]


def _status(client: SchemaRegistryClient, topic: str, schema_name: str) -> SchemaStatus:
    subject, schema = subject_of(topic), Schema(schemas.text(schema_name), "AVRO")
    versions = tuple(_found(subject, client.get_versions, subject) or ())
    if not versions:
        return SchemaStatus(topic, subject, schema_name, "missing")
    registered = _found(subject, client.lookup_schema, subject, schema)
    if registered is not None:
        return SchemaStatus(
            topic, subject, schema_name, "registered",
            registered.schema_id, registered.version, versions,
        )  # fmt: skip
    fits = _ask(subject, client.test_compatibility_all_versions, subject, schema)
    state: Literal["compatible", "incompatible"] = "compatible" if fits else "incompatible"
    return SchemaStatus(topic, subject, schema_name, state, versions=versions)


def _found(subject: str, call: Callable[..., _T], *arguments: object) -> _T | None:
    """Like `_ask`; None where the registry has no such thing."""
    try:
        return _ask(subject, call, *arguments)
    except RegistryError as error:
        cause = error.__cause__
        if isinstance(cause, SchemaRegistryError) and cause.http_status_code == _NOT_FOUND:
            return None
        raise


def _ask(subject: str, call: Callable[..., _T], *arguments: object) -> _T:
    try:
        return call(*arguments)
    except SchemaRegistryError as exc:
        status, reason = exc.http_status_code, exc.error_message
        if status == _CONFLICT:
            raise SchemaIncompatibleError(subject, reason) from exc
        if status >= _SERVER_ERROR:
            raise RegistryUnreachableError(subject, f"HTTP {status}: {reason}") from exc
        raise RegistryError(subject, f"HTTP {status}: {reason}{_ADVICE.get(status, '')}") from exc
    except Exception as exc:
        # httpx's errors, from whichever of its two packages confluent-kafka found
        reason = f"{type(exc).__name__}: {exc}"
        raise RegistryUnreachableError(subject, reason + _certificate_advice(reason)) from exc


def _certificate_advice(reason: str) -> str:
    """What to do where the registry's certificate was refused; nothing for all else."""
    if "CERTIFICATE_VERIFY_FAILED" not in reason:
        return ""
    if "mismatch" in reason:
        return ": registry.url must have a name that is in its certificate"
    if "expired" in reason:
        return ": the registry needs a new one"
    return ": registry.ca_file must hold the authority that signed it"
