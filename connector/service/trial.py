"""Trying, before a start, all that a service will reach: `kite-connector check-config --connect`.

Nothing is changed anywhere, each try has its time, and what is told of an answer holds no secret:
the errors are those that a start would log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple

from connector.cluster.layout import partitions
from connector.errors import ConnectorError, TopicError
from connector.kafka.registry import check_schemas, unused_topics
from connector.kafka.topics import ensure_topics
from connector.kite.feed.credentials import Credentials
from connector.kite.web.instruments import InstrumentMaster
from connector.redaction import first_of
from connector.service.outside import Outside, credentials_of
from connector.service.static_slots import resolve
from connector.settings.models import Settings

TRY_SECONDS: Final = 10.0
"""Each try ends after so long; the list of instruments has three times as long."""
_SHOWN: Final = 10


class Finding(NamedTuple):
    """What was found at one place."""

    what: str
    ok: bool
    told: str


async def trial(settings: Settings) -> AsyncIterator[Finding]:
    """Try one thing after the other, and yield what was found at each."""
    yield await _found("Kafka", _kafka(settings))
    yield await _found("schema registry", _registry(settings))
    accounts = [credentials_of(account) for account in settings.accounts]
    for credentials in accounts:
        yield _token(credentials)
    if not settings.instrument_master.load:
        return
    masters: list[InstrumentMaster] = []
    for credentials in accounts:
        what = f"REST, {credentials.name}"
        if credentials.access_token() is None:
            yield Finding(what, False, "not tried, since there is no token")
            continue
        told = _rest(settings, credentials, masters.append)
        yield await _found(what, told, 3 * TRY_SECONDS)
    if masters:
        yield _names(settings, masters[0])
    else:
        yield Finding("names", False, "not tried, since there is no list of instruments")


async def _found(what: str, told: Awaitable[str], seconds: float = TRY_SECONDS) -> Finding:
    try:
        return Finding(what, True, await asyncio.wait_for(told, seconds))
    except TimeoutError:
        return Finding(what, False, f"no answer within {seconds:g} s")
    except (ConnectorError, OSError) as exc:
        return Finding(what, False, str(exc))


async def _kafka(settings: Settings) -> str:
    # a try changes nothing, though the start would make them
    only_looked_at = settings.topics.model_copy(update={"create": False})
    try:
        report = await ensure_topics(
            settings.kafka,
            only_looked_at,
            slots=partitions(settings.accounts),
            timeout_seconds=TRY_SECONDS / 2,
        )
    except TopicError as exc:
        if not (settings.topics.create and "missing" in str(exc)):
            raise
        return "answers; topics are missing, and the first start makes them"
    differences = "".join(f"\n  {one}" for one in report.differences)
    return f"answers; all {len(report.partitions)} topics are there{differences}"


async def _registry(settings: Settings) -> str:
    names = Outside(settings).topics
    statuses = await check_schemas(
        settings.registry,
        names,
        without=unused_topics(names, settings.topics),
        timeout_seconds=TRY_SECONDS / 2,
    )
    counts = dict.fromkeys(("registered", "compatible", "missing", "incompatible"), 0)
    for status in statuses:
        counts[status.state] += 1
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    if counts["incompatible"]:
        raise ConnectorError(f"answers, but the schemas do not fit: {told}")
    if counts["missing"] and not settings.registry.register_schemas:
        raise ConnectorError(f"answers, but registry.register_schemas is off: {told}")
    return f"answers; schemas: {told}"


def _token(credentials: Credentials) -> Finding:
    what = f"token, {credentials.name}"
    if credentials.access_token() is not None:
        return Finding(what, True, "is there; the REST API says below whether it is good")
    problem = getattr(credentials, "problem", None)
    return Finding(what, False, str(problem or "there is none yet: `kite-connector login`"))


async def _rest(
    settings: Settings, credentials: Credentials, keep: Callable[[InstrumentMaster], None]
) -> str:
    async with Outside(settings).rest(credentials) as rest:
        dump = await rest.instruments()
    if dump is None:
        raise ConnectorError("answers without a list of instruments")
    master = InstrumentMaster.from_csv(dump.csv)
    keep(master)
    return f"takes the token; the list has {len(master):,} instruments"


def _names(settings: Settings, master: InstrumentMaster) -> Finding:
    wanted = {name for group in settings.instruments for name in group.instruments}
    names = {name: master.listed(name) for name in wanted if isinstance(name, str)}
    tokens, _ = resolve(
        settings.instruments,
        {name: listed[0] for name, listed in names.items() if len(listed) == 1},
    )
    wrong = sorted(
        f"{name} ({'ambiguous' if listed else 'not in the list'})"
        for name, listed in names.items()
        if len(listed) != 1
    )
    capacity = settings.connection.max_symbols_per_connection * sum(
        account.connections for account in settings.accounts
    )
    told = f"{len(tokens)} instruments of the settings, there is room for {capacity}"
    if wrong:
        told += f"; unknown: {first_of(wrong, _SHOWN)}"
    return Finding("names", not wrong and len(tokens) <= capacity, told)
