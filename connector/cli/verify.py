"""`kite-connector verify`: whether Kafka has every tick that the connector counted."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from connector.cli import interrupt
from connector.cli.options import JsonOption, with_settings
from connector.cli.verdict import ends_with

if TYPE_CHECKING:
    from connector.kafka.completeness import Missing, SessionReport
    from connector.kafka.verify import Verification
    from connector.settings.models import Settings

EXIT_INCOMPLETE: Final = 3
_SHOWN: Final = 20
"""So many missing parts of a session are printed; JSON has all."""


@with_settings("bootstrap", "prefix", log_level="warning")
def verify(
    *,
    settings: Settings,
    exchanges: Annotated[
        list[str] | None,
        typer.Argument(help="Exchanges, such as nse and nfo; all of them when none is named."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Judge what was received since then: so long ago (90s, 5m, 2h, 1d), today, or a "
            "time in India (09:15, 2026-01-05T09:15). All that the topics still have when not "
            "given.",
        ),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", min=0, metavar="SECONDS", help="Wait so long for ticks that may be late."
        ),
    ] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Say for each session whether Kafka has every tick that was counted, and what is missing.

    Reads the topics once, without a consumer group. Exit code 0 when everything is there, 3 when
    ticks are missing or a session's end was not counted.
    """
    from connector.cli.tail_choice import exchange_topics
    from connector.kafka.reader import Reader
    from connector.kafka.topics import TopicNames
    from connector.kafka.verify import Verifier

    interrupt.is_the_end()
    names = TopicNames(settings.topics.prefix)
    topics = exchange_topics(exchanges or (), names)
    since_ms = None if since is None else _since_ms(since)
    with Reader(settings.kafka, settings.name, "verify") as reader:
        found = Verifier(
            reader,
            settings.kafka,
            names,
            ticks=topics,
            since_ms=since_ms,
            wait_seconds=wait,
            progress=_progress if sys.stderr.isatty() else None,
        ).run()
    if sys.stderr.isatty():
        # the line of progress goes, so that what follows stands alone
        sys.stderr.write("\r\x1b[K")
    with ends_with(0 if found.complete else EXIT_INCOMPLETE):
        if as_json:
            typer.echo(json.dumps(as_document(found)))
        else:
            for line in lines(found):
                typer.echo(line)


def _since_ms(text: str) -> int:
    """Return what `--since` means; of a time to come, no tick would be counted and all missing.

    Raises:
        SettingsError: it is no time, or to come.
    """
    from connector.cli.moments import check_past, moment_ms

    now = datetime.now(UTC)
    since_ms = moment_ms(text, "--since", now)
    check_past(since_ms, text, "--since", now)
    return since_ms


def _progress(read: int, total: int) -> None:
    share = 100 * read // total if total else 100
    sys.stderr.write(f"\r\x1b[K{read:,} of {total:,} ticks read ({share} %)")
    sys.stderr.flush()


def as_document(found: Verification) -> dict[str, Any]:
    """What was found as JSON has it; times are UTC milliseconds."""
    import dataclasses

    return {
        "complete": found.complete,
        "ticks": found.ticks,
        "unreadable": found.unreadable,
        "sessions": [
            {
                **dataclasses.asdict(session),
                "partitions": [
                    {"topic": topic, "partition": partition, "ticks": ticks}
                    for (topic, partition), ticks in session.partitions.items()
                ],
            }
            for session in found.sessions
        ],
    }


def lines(found: Verification) -> list[str]:
    """What was found, for people: times are India's."""
    text = [line for session in found.sessions for line in _session_lines(session)]
    whole = sum(session.verdict == "complete" for session in found.sessions)
    text.append(
        f"{found.ticks:,} records of ticks read; {whole} of {len(found.sessions)} sessions complete"
    )
    if found.unreadable:
        text.append(f"{found.unreadable:,} records could not be read, or are none of a connector's")
    return text


def _session_lines(session: SessionReport) -> list[str]:
    state = "" if session.ended else ", its end not counted yet"
    if session.verdict == "unproven":
        state = f": every tick up to {session.counted_to:,} is there, but its end was not counted"
        if not session.counted_to:
            state = ": kite.events has no count of its ticks"
    head = (
        f"slot {session.slot}, session {session.session_id} from {_time(session.session_id)}: "
        f"{session.verdict}{state}; {session.ticks:,} ticks in {len(session.partitions)} "
        f"partitions, {session.repeats:,} came again"
    )
    text = [head, *(f"  {words}" for words in session.explained_by)]
    text += [f"  {_missing(one)}" for one in session.missing[:_SHOWN]]
    if (more := len(session.missing) - _SHOWN) > 0:
        text.append(f"  and {more} more such parts (--json has them)")
    return text


def _missing(one: Missing) -> str:
    where = "somewhere" if one.topic is None else f"{one.topic} [{one.partition}]"
    of = "" if one.expected is None else f" of {one.expected:,}"
    why = "; ".join(one.explained_by) or "nothing in kite.events or kite.deadletter says why"
    return (
        f"{where}: {one.ticks:,}{of} missing, within {one.first_sequence:,} to "
        f"{one.last_sequence:,}, {_time(one.from_ms)} to {_time(one.to_ms)}: {why}"
    )


def _time(at_ms: int | None) -> str:
    from connector.cli.moments import text_of

    return "?" if at_ms is None else text_of(at_ms, " ")
