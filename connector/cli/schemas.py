"""The topics' schemas: `kite-connector schemas`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.group import CommandGroup, group
from connector.cli.options import with_settings
from connector.cli.verdict import ends_with
from connector.errors import SettingsError

if TYPE_CHECKING:
    from connector.settings.models import Settings


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
        raise SettingsError.of(
            name, f"no such schema; there are {', '.join(shipped.NAMES)}"
        ) from None


@with_settings("registry", "prefix")
def check_schemas(*, settings: Settings) -> None:
    """Compare the shipped schemas with the registry's, and change nothing.

    Exit code 1 when one is missing or may not follow what is there.
    """
    import asyncio

    from connector.kafka.registry import check_schemas as check
    from connector.kafka.registry import unused_topics
    from connector.kafka.topics import TopicNames

    names = TopicNames(settings.topics.prefix)
    unused = unused_topics(names, settings.topics)
    statuses = asyncio.run(check(settings.registry, names, without=unused))
    with ends_with(int(any(one.state in {"missing", "incompatible"} for one in statuses))):
        for status in statuses:
            versions = ",".join(map(str, status.versions)) or "-"
            number = status.schema_id if status.schema_id is not None else "-"
            typer.echo(f"{status.state:13} {status.subject:32} id {number:<6} versions {versions}")


@with_settings("registry", "prefix")
def register_schemas(*, settings: Settings) -> None:
    """Register every schema; those that are there already stay as they are."""
    import asyncio

    from connector.kafka.registry import register_schemas as register
    from connector.kafka.registry import unused_topics
    from connector.kafka.topics import TopicNames

    wanted = settings.registry.model_copy(update={"register_schemas": True})
    names = TopicNames(settings.topics.prefix)
    unused = unused_topics(names, settings.topics)
    ids = asyncio.run(register(wanted, names, without=unused))
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
def clickhouse_tables(
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="NAME,NAME",
            help="Only these columns of the ticks, and those that the bars need: each costs "
            "ClickHouse time. "
            "[default: all]",
        ),
    ] = None,
    ticks_by_inserts: Annotated[
        bool,
        typer.Option(
            "--ticks-by-inserts",
            help="Without the queue of ticks: examples/clickhouse/insert.py reads them, and puts "
            "them into their table.",
        ),
    ] = False,
    *,
    settings: Settings,
) -> None:
    """Print ClickHouse tables over the topics, and bars of a minute, made from the schemas."""
    from connector.cli.clickhouse import clickhouse_tables as tables

    chosen = (
        None if columns is None else [one for part in columns.split(",") if (one := part.strip())]
    )
    try:
        made = tables(
            settings.kafka.bootstrap_servers,
            settings.registry.url,
            prefix=settings.topics.prefix,
            columns=chosen,
            ticks_by_inserts=ticks_by_inserts,
        )
    except KeyError as error:
        raise SettingsError.of("--columns", f"ticks have no column {error.args[0]!r}") from None
    typer.echo(made, nl=False)


@with_settings("bootstrap", "prefix")
def asyncapi(*, settings: Settings) -> None:
    """Print an AsyncAPI 3 document of all topics, and of the control request and reply."""
    import json

    from connector.cli.asyncapi import document
    from connector.cluster.layout import partitions
    from connector.service.status import VERSION

    made = document(
        settings.topics,
        slots=partitions(settings.accounts),
        bootstrap_servers=settings.kafka.bootstrap_servers,
        version=VERSION,
    )
    typer.echo(json.dumps(made, indent=1, ensure_ascii=False))


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
            "asyncapi": asyncapi,
        }


schemas = group(
    _Schemas,
    name="schemas",
    help="Show the topics' schemas, or bring them into the registry.",
)
