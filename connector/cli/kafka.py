"""Commands around Kafka: tail, schemas."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connector.cli import interrupt
from connector.cli.group import CommandGroup, group
from connector.cli.options import with_settings
from connector.errors import SettingProblem, SettingsError
from connector.redaction import printable_json

if TYPE_CHECKING:
    from connector.settings.models import Settings


@with_settings("bootstrap", "registry", "prefix", log_level="warning")
def tail(
    *,
    settings: Settings,
    topics: Annotated[
        list[str] | None,
        typer.Argument(
            help="Exchanges, such as nse and nfo, or orders, events, deadletter, control, replies, "
            "subscriptions, instruments; all exchanges when none is named.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines; they are what a pipe gets anyway.")
    ] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the oldest record.")
    ] = False,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="End with the records that are there now.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="End after so many records.")
    ] = None,
) -> None:
    """Show what arrives in Kafka, decoded: a table on a terminal, JSON lines otherwise.

    Reads without a consumer group and leaves nothing behind. Ctrl-C ends it.
    """
    import asyncio
    import functools
    import shutil

    interrupt.is_the_end()
    names = _topics(topics or (), settings)
    from connector.cli.terminal_view import record_line

    line: Callable[[Any], str] = _json_line
    if sys.stdout.isatty() and not as_json:
        line = functools.partial(record_line, width=shutil.get_terminal_size().columns)
    asyncio.run(
        _tail(
            settings,
            names,
            line,
            from_beginning=from_beginning,
            follow=not until_end,
            limit=limit,
        )
    )


async def _tail(
    settings: Settings,
    topics: list[str],
    line: Callable[[Any], str],
    *,
    from_beginning: bool,
    follow: bool,
    limit: int | None,
) -> None:
    import contextlib
    from collections.abc import AsyncGenerator
    from typing import cast

    from connector.kafka.tail import tail as records
    from connector.kafka.topics import TopicNames

    shown = 0
    stream = records(
        settings.kafka,
        settings.registry,
        TopicNames(settings.topics.prefix),
        topics,
        start="earliest" if from_beginning else "latest",
        follow=follow,
        name=settings.name,
    )
    async with contextlib.aclosing(cast(AsyncGenerator[Any], stream)):
        async for record in stream:
            sys.stdout.write(line(record) + "\n")
            sys.stdout.flush()
            shown += 1
            if shown == limit:
                return


def _json_line(record: Any) -> str:
    import dataclasses

    document = dataclasses.asdict(record)
    if record.problem is None:
        del document["problem"]
    return printable_json(document, default=_as_json)


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        import base64

        return {"base64": base64.b64encode(value).decode()}
    return value.isoformat(timespec="milliseconds")


def _topics(words: Any, settings: Settings) -> list[str]:
    from connector.kafka.topics import TopicNames

    names = TopicNames(settings.topics.prefix)
    known = {exchange.name.lower(): topic for exchange, topic in names.all_ticks().items()}
    if not words:
        return list(known.values())
    for word in (
        "orders", "events", "deadletter", "control", "replies", "subscriptions", "instruments",
    ):  # fmt: skip
        known[word] = getattr(names, word)
    known |= {topic: topic for topic in known.values()}
    unknown = [word for word in words if word.lower() not in known]
    if unknown:
        raise SettingsError(
            [
                SettingProblem(word, f"no such topic; there are {', '.join(sorted(known))}")
                for word in unknown
            ]
        )
    return [known[word.lower()] for word in words]


@with_settings("prefix")
def list_schemas(*, settings: Settings) -> None:
    """List the shipped schemas and the subject of each topic."""
    from connector.kafka.registry import subject_of, topic_schemas
    from connector.kafka.topics import TopicNames

    for topic, schema in topic_schemas(TopicNames(settings.topics.prefix)).items():
        typer.echo(f"{schema:18} {topic:24} {subject_of(topic)}")


def print_schema(
    name: Annotated[str, typer.Argument(help="A schema's name, as `schemas list` shows it.")],
) -> None:
    """Print a shipped schema."""
    from connector import schemas as shipped  # type: ignore[attr-defined]  # another folder

    try:
        typer.echo(shipped.text(name), nl=False)
    except KeyError:
        raise SettingsError(
            [SettingProblem(name, f"no such schema; there are {', '.join(shipped.NAMES)}")]
        ) from None


@with_settings("registry", "prefix")
def check_schemas(*, settings: Settings) -> None:
    """Compare the shipped schemas with the registry's, and change nothing.

    Exit code 1 when one is missing or may not follow what is there.
    """
    import asyncio

    from connector.kafka.registry import check_schemas as check
    from connector.kafka.topics import TopicNames

    statuses = asyncio.run(check(settings.registry, TopicNames(settings.topics.prefix)))
    for status in statuses:
        versions = ",".join(map(str, status.versions)) or "-"
        number = status.schema_id if status.schema_id is not None else "-"
        typer.echo(f"{status.state:13} {status.subject:32} id {number:<6} versions {versions}")
    if any(status.state in {"missing", "incompatible"} for status in statuses):
        raise typer.Exit(1)


@with_settings("registry", "prefix")
def register_schemas(*, settings: Settings) -> None:
    """Register every schema; those that are there already stay as they are."""
    import asyncio

    from connector.kafka.registry import register_schemas as register
    from connector.kafka.topics import TopicNames

    wanted = settings.registry.model_copy(update={"register_schemas": True})
    ids = asyncio.run(register(wanted, TopicNames(settings.topics.prefix)))
    for topic, number in ids.items():
        typer.echo(f"{topic:24} id {number}")


@with_settings("bootstrap", "registry", "prefix")
def flink_tables(*, settings: Settings) -> None:
    """Print Flink SQL tables over the topics, made from the schemas."""
    from connector.cli.downstream import flink_tables as tables

    typer.echo(
        tables(
            settings.kafka.bootstrap_servers, settings.registry.url, prefix=settings.topics.prefix
        ),
        nl=False,
    )


@with_settings("bootstrap", "registry", "prefix")
def spark_reader(*, settings: Settings) -> None:
    """Print a PySpark module that reads the tick topics, made from the schemas."""
    from connector.cli.downstream import spark_reader as reader
    from connector.cli.downstream import topic_pattern

    pattern = topic_pattern("tick", settings.topics.prefix)
    typer.echo(reader(pattern, settings.kafka.bootstrap_servers, settings.registry.url), nl=False)


@with_settings("bootstrap", "registry", "prefix")
def clickhouse_tables(*, settings: Settings) -> None:
    """Print ClickHouse tables over the topics, and bars of a minute, made from the schemas."""
    from connector.cli.clickhouse import clickhouse_tables as tables

    typer.echo(
        tables(
            settings.kafka.bootstrap_servers, settings.registry.url, prefix=settings.topics.prefix
        ),
        nl=False,
    )


class _Schemas(CommandGroup):
    @classmethod
    def targets(cls) -> dict[str, Callable[..., None]]:
        return {
            "list": list_schemas,
            "print": print_schema,
            "check": check_schemas,
            "register": register_schemas,
            "flink": flink_tables,
            "spark": spark_reader,
            "clickhouse": clickhouse_tables,
        }


schemas = group(
    _Schemas,
    name="schemas",
    help="Show the topics' schemas, or bring them into the registry.",
)
