"""Which ticks `export` and `replay` read: their options, and the reading of topics."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from connector.errors import SettingsError

if TYPE_CHECKING:
    from connector.kafka.time_order import TimeOrder
    from connector.settings.models import Settings

ExchangesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exchange", "-e", help="Only this exchange's ticks, such as nse or nfo. May be repeated."
    ),
]
TopicsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--topic",
        help="Only the ticks of this topic, by its whole name, such as kite.latest. May be "
        "repeated.",
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TIME",
        help="Begin with what was received then: so long ago (90s, 5m, 2h, 1d), today, or a time "
        "in India (09:15, 2026-01-30T09:15). [default: the oldest]",
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="TIME",
        help="End before what was received then, a time as for --from. [default: now]",
    ),
]


class TimeRange(NamedTuple):
    """Two times in UTC milliseconds; from None is from the oldest."""

    from_ms: int | None
    to_ms: int


def time_range(begin: str | None, end: str | None) -> TimeRange:
    """Return the times that the options mean.

    Raises:
        SettingsError: one is no time, or nothing is between them.
    """
    from connector.cli.moments import moment_ms

    from_ms = None if begin is None else moment_ms(begin, "--from")
    to_ms = time.time_ns() // 1_000_000 if end is None else moment_ms(end, "--to")
    if from_ms is not None and from_ms >= to_ms:
        until = "now, which is where it ends without --to" if end is None else end
        raise SettingsError.of("--from", f"{begin} is not before {until}")
    return TimeRange(from_ms, to_ms)


def source_topics(
    settings: Settings, exchanges: Sequence[str] | None, topics: Sequence[str] | None
) -> list[str]:
    """Return the topics that the options name; without any, those of all exchanges.

    Raises:
        SettingsError: there is no such exchange.
    """
    from connector.cli.tail_choice import exchange_topics
    from connector.kafka.topics import TopicNames

    names = TopicNames(settings.topics.prefix)
    chosen = [] if topics and not exchanges else exchange_topics(exchanges or (), names)
    return list(dict.fromkeys([*chosen, *(topics or ())]))


@contextlib.contextmanager
def time_order(
    settings: Settings,
    purpose: str,
    topics: Sequence[str],
    between: TimeRange,
    stop: Callable[[], bool],
) -> Iterator[TimeOrder]:
    """The records of topics between two times, in order of time.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic is not there, or may not be read.
    """
    from connector.kafka.time_order import TimeOrder, time_order_reader

    with time_order_reader(settings.kafka, settings.name, purpose) as reader:
        yield TimeOrder(
            reader,
            settings.kafka,
            topics,
            from_ms=between.from_ms,
            to_ms=between.to_ms,
            stop=stop,
        )
