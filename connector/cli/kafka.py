"""Commands around Kafka: tail, schemas."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import shutil
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from connector.cli.service import ConfigOption
from connector.errors import SettingProblem, SettingsError
from connector.settings.models import Settings
from connector.settings.source import load

BootstrapOption = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        "-b",
        metavar="HOST:PORT",
        help="Brokers. Default: kafka.bootstrap_servers of the settings",
    ),
]
RegistryOption = Annotated[
    str | None,
    typer.Option("--registry", "-r", metavar="URL", help="Default: registry.url of the settings"),
]
PrefixOption = Annotated[
    str | None, typer.Option(help="Of the topics. Default: topics.prefix of the settings")
]

schemas = typer.Typer(
    help="The schemas of the topics: shipped with the connector, kept in the registry.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(tail)
    app.add_typer(schemas, name="schemas")


def tail(
    topics: Annotated[
        list[str] | None,
        typer.Argument(
            help="Exchanges (nse, nfo …), or orders, events, deadletter, control, replies, "
            "subscriptions, instruments; all exchanges when none is named",
            show_default=False,
        ),
    ] = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    prefix: PrefixOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines; they are what a pipe gets anyway")
    ] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="begin with the oldest record")
    ] = False,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="end with the records that are there now")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="end after so many records")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Show what arrives in Kafka, decoded: a table on a terminal, JSON lines otherwise.

    Reads without a consumer group and leaves nothing behind. Ctrl-C ends it.
    """
    settings = _settings(config, bootstrap, registry, prefix)
    names = _topics(topics or (), settings)
    from connector.cli.terminal_view import record_line

    line: Callable[[Any], str] = _json_line
    if sys.stdout.isatty() and not as_json:
        line = functools.partial(record_line, width=shutil.get_terminal_size().columns)
    with contextlib.suppress(KeyboardInterrupt):
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
    async with contextlib.aclosing(cast("AsyncGenerator[Any]", stream)):
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
    return json.dumps(document, default=_as_json, ensure_ascii=False)


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


def _settings(
    config: Path | None, bootstrap: str | None, registry: str | None, prefix: str | None = None
) -> Settings:
    """The settings with what the options say in their place."""
    settings = load(config, accounts_required=False).settings
    changes: dict[str, dict[str, str]] = {}
    for section, name, value in [
        ("kafka", "bootstrap_servers", bootstrap),
        ("registry", "url", registry),
        ("topics", "prefix", prefix),
    ]:
        if value is not None:
            changes[section] = {name: value}
    if not changes:
        return settings
    from pydantic import ValidationError

    raw = settings.model_dump()
    for section, change in changes.items():
        raw[section] |= change
    try:
        return Settings.model_validate(raw)
    except ValidationError as exc:
        raise SettingsError(
            [
                SettingProblem(".".join(map(str, error["loc"])), error["msg"])
                for error in exc.errors()
            ]
        ) from exc


@schemas.command("list")
def list_schemas(prefix: PrefixOption = None, config: ConfigOption = None) -> None:
    """List the shipped schemas and the subject of each topic."""
    from connector.kafka.registry import subject_of, topic_schemas
    from connector.kafka.topics import TopicNames

    settings = _settings(config, None, None, prefix)
    for topic, schema in topic_schemas(TopicNames(settings.topics.prefix)).items():
        typer.echo(f"{schema:18} {topic:24} {subject_of(topic)}")


@schemas.command("print")
def print_schema(
    name: Annotated[str, typer.Argument(help="tick, order_update, connection_event …")],
) -> None:
    """Print a shipped schema."""
    from connector import schemas as shipped  # type: ignore[attr-defined]  # another folder

    try:
        typer.echo(shipped.text(name), nl=False)
    except KeyError:
        raise SettingsError(
            [SettingProblem(name, f"no such schema; there are {', '.join(shipped.NAMES)}")]
        ) from None


@schemas.command("check")
def check_schemas(
    registry: RegistryOption = None, prefix: PrefixOption = None, config: ConfigOption = None
) -> None:
    """Compare the shipped schemas with the registry's, and change nothing.

    Exit code 1 when one is missing or may not follow what is there.
    """
    from connector.kafka.registry import check_schemas as check
    from connector.kafka.topics import TopicNames

    settings = _settings(config, None, registry, prefix)
    statuses = asyncio.run(check(settings.registry, TopicNames(settings.topics.prefix)))
    for status in statuses:
        versions = ",".join(map(str, status.versions)) or "-"
        number = status.schema_id if status.schema_id is not None else "-"
        typer.echo(f"{status.state:13} {status.subject:32} id {number:<6} versions {versions}")
    if any(status.state in {"missing", "incompatible"} for status in statuses):
        raise typer.Exit(1)


@schemas.command("register")
def register_schemas(
    registry: RegistryOption = None, prefix: PrefixOption = None, config: ConfigOption = None
) -> None:
    """Register every schema; those that are there already stay as they are."""
    from connector.kafka.registry import register_schemas as register
    from connector.kafka.topics import TopicNames

    settings = _settings(config, None, registry, prefix)
    wanted = settings.registry.model_copy(update={"register_schemas": True})
    ids = asyncio.run(register(wanted, TopicNames(settings.topics.prefix)))
    for topic, number in ids.items():
        typer.echo(f"{topic:24} id {number}")


@schemas.command("flink")
def flink_tables(
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Print Flink SQL tables over the topics, made from the schemas."""
    from connector.cli.downstream import flink_tables as tables

    settings = _settings(config, bootstrap, registry, prefix)
    typer.echo(
        tables(
            settings.kafka.bootstrap_servers, settings.registry.url, prefix=settings.topics.prefix
        ),
        nl=False,
    )


@schemas.command("spark")
def spark_reader(
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    prefix: PrefixOption = None,
    config: ConfigOption = None,
) -> None:
    """Print a PySpark module that reads the tick topics, made from the schemas."""
    from connector.cli.downstream import spark_reader as reader
    from connector.cli.downstream import topic_pattern

    settings = _settings(config, bootstrap, registry, prefix)
    pattern = topic_pattern("tick", settings.topics.prefix)
    typer.echo(reader(pattern, settings.kafka.bootstrap_servers, settings.registry.url), nl=False)
