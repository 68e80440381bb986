"""Commands around the feed: demo, simulate, record."""

from __future__ import annotations

import io
import os
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from connector.cli.options import build, with_options, with_settings
from connector.cli.verdict import ends_with
from connector.errors import SettingsError

if TYPE_CHECKING:
    import asyncio

    from connector.settings.models import Settings
    from connector.simulator.config import SimulatorConfig
    from connector.simulator.faults import FaultSpec


DurationOption = Annotated[
    float | None, typer.Option(min=0.1, help="End after so many seconds. [default: at Ctrl-C]")
]


def demo(
    duration: DurationOption = None,
    replicas: Annotated[
        int,
        typer.Option(
            min=1, max=9, help="Run so many connectors, which share the three connections."
        ),
    ] = 1,
    instruments: Annotated[
        int, typer.Option(min=1, max=9000, help="Subscribe so many instruments.")
    ] = 1500,
    rate: Annotated[
        float, typer.Option(min=0.0, help="Update each instrument so many times a second.")
    ] = 2.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 1,
) -> None:
    """Show it all: simulated market, embedded broker and registry, the connector.

    Needs no account, no Kafka and no network. A live view on a terminal; lines otherwise, and one
    of JSON at the end.
    """
    import asyncio

    import uvloop

    from connector.cli.demo import DemoOptions, run_demo
    from connector.service.logs import configure

    # all of it is on this machine: a proxy of the environment has no part in it
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "*"
    # the view has the screen for itself: it shows the last warning
    notices: deque[str] = deque(maxlen=20)
    if sys.stdout.isatty():
        configure("warning", "console", stream=KeptLines(notices))
    else:
        configure("warning")
    options = DemoOptions(
        duration_seconds=duration,
        replicas=replicas,
        instruments=instruments,
        updates_per_second=rate,
        seed=seed,
    )

    async def show() -> int:
        return await run_demo(options, sys.stdout, notices, stopped_by_signal())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise typer.Exit(runner.run(show()))


class KeptLines(io.StringIO):
    """A stream that only keeps the lines written to it."""

    def __init__(self, lines: deque[str]) -> None:
        super().__init__()
        self._lines = lines

    def write(self, text: str, /) -> int:
        """Keep each line that is written."""
        self._lines.extend(line for line in text.splitlines() if line.strip())
        return len(text)


@with_options(
    "connector.simulator.config:SimulatorConfig",
    leave_out=("accounts", "faults", "sent_log_frames", "stepped"),
)
def simulate(
    *,
    api_key: Annotated[
        list[str] | None, typer.Option(help="Let this api_key in; may be repeated.")
    ] = None,
    access_token: Annotated[
        str | None,
        typer.Option(
            help="Let this access_token in from the start; an empty one means none until a login."
        ),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Let something go wrong, as KIND[@AT_SECONDS][:SECONDS], such as silence@30:8; "
            "may be repeated."
        ),
    ] = None,
    log_format: Annotated[
        Literal["auto", "json", "console"], typer.Option(help="Write the log in this form.")
    ] = "auto",
    **given: Any,
) -> None:
    """Run a simulated Kite: WebSocket and REST, until Ctrl-C. Needs no account.

    Anything that speaks Kite's protocol can connect, with the api_key `simulated_key` and the
    access_token `simulated_token` unless others are given.
    """
    import asyncio

    from connector.service.logs import configure
    from connector.simulator.config import SimulatedAccount, SimulatorConfig

    configure(log_format=log_format)
    if api_key or access_token is not None:
        keys = api_key or [SimulatedAccount().api_key]
        changes = {} if access_token is None else {"access_token": access_token or None}
        given["accounts"] = [{"api_key": key, **changes} for key in keys]
    config = build(SimulatorConfig, {**given, "faults": [_fault(text) for text in fault or ()]})
    if config.replay is not None:
        _check_capture(config.replay)
    asyncio.run(_simulate(config))


@with_settings(accounts_required=True, log_level="warning")
def record(
    *,
    settings: Settings,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The capture to write; gzipped if named *.gz.")
    ],
    duration: DurationOption = None,
    text: Annotated[
        bool, typer.Option(help="Record text frames, and with them order updates.")
    ] = True,
    comment: Annotated[
        str, typer.Option(help="Keep this text in the file, for whoever finds it.")
    ] = "",
) -> None:
    """Record what the feed sends, for `simulate --replay`; nothing goes to Kafka.

    Uses the accounts and instruments of the settings, and so their connections: a service with the
    same api_key must not run meanwhile.
    """
    import asyncio

    from connector.service.recording import record as run

    async def recorded() -> int:
        stop = stopped_by_signal()
        if duration is not None:
            asyncio.get_running_loop().call_later(duration, stop.set)
        return await run(
            settings, file, stop, text=text, comment=comment, on_progress=_say_progress
        )

    try:
        messages = asyncio.run(recorded())
    except OSError as exc:
        raise SettingsError.of("FILE", f"cannot write {file}: {exc.strerror}") from exc
    with ends_with(0 if messages else 1):
        if not messages:
            advice = "nothing was received: is a token there, and are there instruments?"
            typer.echo(advice, err=True)
        typer.echo(f"{messages:,} messages in {file}, {file.stat().st_size:,} bytes")


def _say_progress(messages: int, connections: int) -> None:
    typer.echo(f"{messages:,} messages, {connections} connections", err=True)


def _fault(text: str) -> FaultSpec:
    from connector.simulator.faults import FaultSpec

    try:
        return FaultSpec.parse(text)
    except ValueError as exc:
        raise SettingsError.of("--fault", str(exc)) from exc


def _check_capture(file: Path) -> None:
    """Read the beginning of a capture: what cannot be played is refused at once.

    Raises:
        SettingsError: it cannot be read, or holds nothing.
        CaptureError: it is no capture.
    """
    from connector.kite.feed.capture import CaptureReader

    try:
        first = next(iter(CaptureReader(file)), None)
    except OSError as exc:
        raise SettingsError.of("--replay", f"{file} cannot be read: {exc.strerror}") from exc
    if first is None:
        raise SettingsError.of("--replay", f"{file} holds nothing to play")


async def _simulate(config: SimulatorConfig) -> None:
    from connector.simulator import SimulatorServer

    stop = stopped_by_signal()
    async with SimulatorServer(config) as server:
        keys = " ".join(account.api_key for account in config.accounts)
        typer.echo(f"WebSocket  {server.ws_url}     KITE_FEED__ROOT={server.ws_url}")
        typer.echo(f"REST       {server.rest_url}   KITE_FEED__REST={server.rest_url}")
        typer.echo(f"login      {server.rest_url}   KITE_FEED__LOGIN={server.rest_url}")
        tokens = " ".join(one.access_token or "(after a login)" for one in config.accounts)
        typer.echo(f"api_keys   {keys}")
        typer.echo(f"tokens     {tokens}")
        typer.echo(f"state      {server.rest_url}/simulator/state")
        await stop.wait()


def stopped_by_signal() -> asyncio.Event:
    """Return an event that SIGTERM and Ctrl-C set; to be called from the event loop."""
    import asyncio
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
