"""The schema registry: which topic has which schema, registering and looking up.

Subjects are `<topic>-value` (TopicNameStrategy). Compatibility is set on a subject before its first
schema, so that no version slips in unchecked. Everything may be repeated: what is there already
keeps its id. Nothing rests on ids being equal across subjects, or on answers that only one
vendor's registry gives.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

import structlog
from fastavro.schema import to_parsing_canonical_form

from connector import schemas  # type: ignore[attr-defined]  # lies in another folder
from connector.errors import RegistryError, RegistryUnreachableError, SchemaIncompatibleError
from connector.kafka.registry_client import Registered, RegistryClient, registry_client
from connector.kafka.schema_shape import NOT_AVRO
from connector.kafka.topics import TopicNames
from connector.settings.models import RegistrySettings
from connector.settings.topics import TopicSettings

_log = structlog.get_logger("connector.kafka.registry")

_COMPARED_VERSIONS: Final = 20
"""So many versions of a subject are compared, the newest; each is a request."""


def topic_schemas(names: TopicNames) -> dict[str, str]:
    """Topic → name of its schema in `connector.schemas`; topics with JSON values are not here."""
    return {
        **dict.fromkeys(names.all_ticks().values(), "tick"),
        names.orders: "order_update",
        names.events: "connection_event",
        names.instruments: "instrument",
        names.latest: "tick",
        names.backfill: "candle",
    }


def unused_topics(names: TopicNames, topics: TopicSettings) -> frozenset[str]:
    """Return the topics of `topic_schemas` that these settings do not have."""
    used = {names.latest: topics.latest, names.backfill: topics.backfill}
    return frozenset(topic for topic, is_used in used.items() if not is_used)


def subject_of(topic: str) -> str:
    """Return the subject of a topic's values."""
    return f"{topic}-value"


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What the registry knows of one topic's schema, as this version of the connector has it."""

    topic: str
    subject: str
    schema: str
    state: Literal["registered", "missing", "compatible", "incompatible"]
    """Missing: the subject has no schema yet. Compatible and incompatible: it has others only, and
    this one may follow them or not."""
    schema_id: int | None = None
    version: int | None = None
    versions: tuple[int, ...] = ()
    """All versions of the subject."""


async def register_schemas(
    settings: RegistrySettings,
    names: TopicNames,
    *,
    without: Collection[str] = (),
    timeout_seconds: float = 10.0,
) -> dict[str, int]:
    """Register every schema, or look it up where `register_schemas` is off.

    Args:
        settings: of the registry.
        names: of the topics.
        without: topics that are left out, since the settings have none of them.
        timeout_seconds: of each request.

    Returns:
        Topic → schema id, for the framing of its values.

    Raises:
        RegistryUnreachableError: no answer in time, or a server error; trying again may help.
        SchemaIncompatibleError: the subject's compatibility rule forbids it.
        RegistryError: anything else that the registry refuses, such as the credentials; or under
            the id that it gives it has another schema.
    """
    ids: dict[str, int] = {}
    checked: set[tuple[str, int]] = set()
    async with registry_client(settings, timeout_seconds=timeout_seconds) as client:
        for topic, schema_name in topic_schemas(names).items():
            if topic in without:
                continue
            subject = subject_of(topic)
            ids[topic] = await _schema_id(client, settings, subject, schema_name)
            if (found := (schema_name, ids[topic])) not in checked:
                await _check_id(client, subject, *found)
                checked.add(found)
    return ids


async def check_schemas(
    settings: RegistrySettings,
    names: TopicNames,
    *,
    without: Collection[str] = (),
    timeout_seconds: float = 10.0,
) -> list[SchemaStatus]:
    """Compare the shipped schemas with the registry's, and change nothing.

    Args:
        settings: of the registry.
        names: of the topics.
        without: topics that are left out, since the settings have none of them.
        timeout_seconds: of each request.

    Raises:
        RegistryUnreachableError: no answer in time, or a server error; trying again may help.
        RegistryError: anything else that the registry refuses.
    """
    async with registry_client(settings, timeout_seconds=timeout_seconds) as client:
        return [
            await _status(client, topic, schema_name)
            for topic, schema_name in topic_schemas(names).items()
            if topic not in without
        ]


def schema_by_id(client: RegistryClient, schema_id: int) -> str:
    """The text of a registered schema; blocks, so that no event loop may run in this thread.

    Raises:
        RegistryUnreachableError: no answer in time, or none of a registry's.
        RegistryError: there is no such id.
    """

    async def ask() -> str:
        async with client:
            return await client.get_schema(schema_id)

    return asyncio.run(ask())


async def _schema_id(
    client: RegistryClient, settings: RegistrySettings, subject: str, schema_name: str
) -> int:
    schema = schemas.text(schema_name)
    if settings.register_schemas:
        try:
            await _set_compatibility(client, settings, subject)
            return await client.register_schema(subject, schema)
        except RegistryError as refusal:
            # another replica has just registered it, and the registry refuses the second; or it is
            # read-only for a while, as during a migration: what is there needs nothing of it
            there = None if refusal.retryable else await client.lookup_schema(subject, schema)
            if there is None:
                raise
            _log.warning("schema_there_although_refused", subject=subject, reason=refusal.reason)
            return there.schema_id
    registered = await _registered(client, subject, schema)
    if registered is None:
        raise RegistryError(
            subject,
            "the schema is not registered, and registry.register_schemas is off: "
            "register it with `kite-connector schemas register`",
        )
    return registered.schema_id


async def _check_id(client: RegistryClient, subject: str, schema_name: str, schema_id: int) -> None:
    """See that readers find the schema by its id; where nobody tells that, it is believed."""
    try:
        there = await client.get_schema(schema_id)
    except RegistryError as refusal:  # a right, or a gateway that lets other paths through alone
        _log.info("schema_id_not_checked", subject=subject, reason=refusal.reason)
        return
    if not _same_bytes(there, schemas.text(schema_name)):
        raise RegistryError(
            subject,
            f"the registry says that this schema has the id {schema_id}, and has another one under "
            "it: nobody could read what is written. Was it restored from a backup, or does "
            "something before it keep its answers?",
        )


async def _set_compatibility(
    client: RegistryClient, settings: RegistrySettings, subject: str
) -> None:
    if settings.compatibility is None or settings.url.startswith("mock:"):
        return
    # read first: an account may be allowed to read what it may not write
    if await client.get_compatibility(subject) == settings.compatibility:
        return
    try:
        await client.set_compatibility(subject, settings.compatibility)
    except SchemaIncompatibleError as error:
        # replicas that start together: Apicurio Registry refuses the second one
        if await client.get_compatibility(subject) != settings.compatibility:
            raise RegistryUnreachableError(
                subject, "its compatibility is being set by somebody else"
            ) from error


async def _registered(client: RegistryClient, subject: str, schema: str) -> Registered | None:
    """The version that a subject has of a schema, the newest of those that differ in words alone.

    Registries differ in whether another `doc` or `aliases` makes another schema. For bytes it is
    the same one, so a release that only explains a field better finds what is there.
    """
    found = await client.lookup_schema(subject, schema)
    if found is not None:
        return found
    versions = await client.get_versions(subject)
    for version in reversed(versions[-_COMPARED_VERSIONS:]):
        there = await client.get_version(subject, version)
        if there is not None and _same_but_for_words(there[1], schema):
            return Registered(there[0], version)
    return None


def _same_but_for_words(there: str, shipped: str) -> bool:
    try:
        return bool(
            schemas.without_words(json.loads(there)) == schemas.without_words(json.loads(shipped))
        )
    except (ValueError, RecursionError):
        return False  # whatever somebody has registered, it is not ours


def _same_bytes(there: str, shipped: str) -> bool:
    """Whether values of both schemas are the same bytes, in whatever form one is written down."""
    if _same_but_for_words(there, shipped):
        return True
    # registries write a schema in forms of their own
    try:
        found, ours = (to_parsing_canonical_form(json.loads(text)) for text in (there, shipped))
    except NOT_AVRO:
        return False
    return bool(found == ours)


async def _status(client: RegistryClient, topic: str, schema_name: str) -> SchemaStatus:
    subject, schema = subject_of(topic), schemas.text(schema_name)
    versions = tuple(await client.get_versions(subject))
    if not versions:
        return SchemaStatus(topic, subject, schema_name, "missing")
    registered = await _registered(client, subject, schema)
    if registered is not None:
        return SchemaStatus(
            topic, subject, schema_name, "registered",
            registered.schema_id, registered.version, versions,
        )  # fmt: skip
    fits = await client.is_compatible(subject, schema)
    state: Literal["compatible", "incompatible"] = "compatible" if fits else "incompatible"
    return SchemaStatus(topic, subject, schema_name, state, versions=versions)
