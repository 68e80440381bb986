"""`kite-connector top`: the live view over the /status of running replicas, or over Kafka."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from connector.cli.options import with_settings
from connector.errors import SettingsError
from connector.redaction import printable

if TYPE_CHECKING:
    import asyncio

    import aiohttp
    from rich.console import RenderableType

    from connector.cli.terminal_view import View
    from connector.service.status import ServiceStatus
    from connector.settings.models import Settings

DEFAULT_URL: Final = "http://127.0.0.1:8090"
MAX_URLS: Final = 16
MAX_STATUS_BYTES: Final = 4 * 2**20
"""A longer answer is not a status."""
ANSWER_SECONDS: Final = 5.0
"""A replica may take so long for its answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a replica answered: its status, or why there is none."""

    url: str
    status: ServiceStatus | None = None
    problem: str = ""


class Look(NamedTuple):
    """What there is to be seen at one look."""

    view: RenderableType
    """What a terminal shows."""
    line: str
    """What goes to all else, without its end."""
    answered: bool


@with_settings("bootstrap", "prefix", "name")
def top(
    *,
    settings: Settings,
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"The status servers of replicas of one cluster. [default: {DEFAULT_URL}]"
        ),
    ] = None,
    every: Annotated[
        float, typer.Option(min=0.5, max=3600, help="Ask again after so many seconds.")
    ] = 2.0,
    count: Annotated[int | None, typer.Option("-n", min=1, help="End after so many looks.")] = None,
    kafka: Annotated[
        bool,
        typer.Option(
            "--kafka",
            help="Show the slots as their owners have written it into Kafka: for where no replica "
            "can be reached.",
        ),
    ] = False,
) -> None:
    """Show what replicas do, live: connections, exchanges, accounting.

    On a terminal the view is drawn anew; otherwise each look is one line. Exit code 1: no replica
    answered the last time. The settings, and the options for them, count with --kafka alone.
    """
    addresses = [status_url(url) for url in urls or [DEFAULT_URL]]
    if len(addresses) > MAX_URLS:
        raise SettingsError.of("URLS", f"at most {MAX_URLS} replicas are shown")
    if kafka and urls:
        raise SettingsError.of("--kafka", "give it or URLS, not both")
    import asyncio

    from connector.cli.feed import stopped_by_signal

    async def show() -> bool:
        if kafka:
            from connector.cli import top_kafka

            return await top_kafka.watch(settings, every, count, stopped_by_signal())
        return await watch(addresses, every, count, stopped_by_signal())

    if not asyncio.run(show()):
        raise typer.Exit(1)


def status_url(text: str) -> str:
    """Return the address of a replica's /status, from what somebody wrote.

    Raises:
        SettingsError: it is none.
    """
    from urllib.parse import urlsplit

    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise SettingsError.of("URLS", f"{printable(text)} is no address such as {DEFAULT_URL}")
    path = parts.path.rstrip("/")
    return (
        f"{parts.scheme}://{parts.netloc}{path if path.endswith('/status') else path + '/status'}"
    )


async def watch(
    urls: Sequence[str], every_seconds: float, count: int | None, stop: asyncio.Event
) -> bool:
    """Show the replicas until `stop`, or so many times; returns whether one answered at last."""
    import asyncio

    import aiohttp

    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    began = time.monotonic()
    async with aiohttp.ClientSession(
        # nothing that an answer unpacks to may pass `MAX_STATUS_BYTES`
        timeout=timeout,
        auto_decompress=False,
        trust_env=True,
    ) as session:

        async def look() -> Look:
            found = await asyncio.gather(*(ask(session, url) for url in urls))
            answered = any(one.status is not None for one in found)
            return Look(view_of(found, time.monotonic() - began), line_of(found), answered)

        return await live(look, every_seconds, count, stop)


async def live(
    look: Callable[[], Awaitable[Look]],
    every_seconds: float,
    count: int | None,
    stop: asyncio.Event,
) -> bool:
    """Look again and again until `stop`, or so many times, and show it.

    Returns:
        whether there was an answer at the last look.
    """
    from rich.console import Console
    from rich.live import Live

    from connector.kite.feed.wait import within

    console = Console()
    looks, answered = 0, False
    with Live(console=console, auto_refresh=False, screen=False) as shown:
        while not stop.is_set():
            found = await look()
            answered = found.answered
            if console.is_terminal:
                shown.update(found.view, refresh=True)
            else:
                sys.stdout.write(found.line + "\n")
                sys.stdout.flush()
            looks += 1
            if looks == count:
                break
            await within(every_seconds, stop.wait())
    return answered


async def ask(session: aiohttp.ClientSession, url: str) -> Asked:
    """Ask a replica how it is; whatever answers instead, there is a reason."""
    import aiohttp

    from connector.kite.web.http import BodyError, failure_reason, read_body
    from connector.service.status_reading import status_of

    try:
        # a status server sends nobody elsewhere
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                return Asked(url, problem=f"HTTP {response.status}")
            body = await read_body(response, max_bytes=MAX_STATUS_BYTES)
    except (aiohttp.ClientError, TimeoutError, BodyError, OSError) as error:
        return Asked(url, problem=failure_reason(error))
    try:
        return Asked(url, status_of(json.loads(body)))
    except (ValueError, RecursionError):
        return Asked(url, problem="not the status of a kite-connector")


def view_of(found: Sequence[Asked], elapsed_seconds: float) -> View:
    """Return what a terminal shows of the answers."""
    from connector.cli.terminal_view import Hint, View

    statuses = [one.status for one in found if one.status is not None]
    problems = [f"{one.url}: {one.problem}" for one in found if one.status is None]
    reasons = [
        f"{number}: {reason}" if len(statuses) > 1 else reason
        for number, status in enumerate(statuses)
        for reason in status.not_ready
    ]
    return View(
        title=statuses[0].name if statuses else "nobody answers",
        statuses=statuses,
        hints=[
            *(Hint("page", one.url.removesuffix("status")) for one in found[:1]),
            *(Hint("problem", problem) for problem in problems[:4]),
            Hint("end", "Ctrl-C"),
        ],
        elapsed_seconds=elapsed_seconds,
        notice=reasons[0] if reasons else "",
        roles=["leader" if (status.cluster or {}).get("leader") else "" for status in statuses],
        max_width=None,
    )


def line_of(found: Sequence[Asked]) -> str:
    """Return one line that says what flows, for what is no terminal."""
    from connector.cli.terminal_view import accounting_line, total_accounting

    statuses = [one.status for one in found if one.status is not None]
    problems = [f"{one.url}: {one.problem}" for one in found if one.status is None]
    if not statuses:
        return "; ".join(problems)
    connections = [one for status in statuses for one in status.connections]
    connected = sum(one.state == "connected" for one in connections)
    rate = sum(status.ticks_per_second for status in statuses)
    ready = sum(status.ready for status in statuses)
    flows = (
        f"{ready} of {len(found)} ready, {connected} of {len(connections)} connected, "
        f"{rate:,.0f} ticks/s, {accounting_line(total_accounting(statuses))}"
    )
    return "; ".join([flows, *problems])
