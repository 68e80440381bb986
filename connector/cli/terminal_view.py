"""What a terminal shows: the view of a running service.

Only makes rich renderables out of snapshots; it reads no clock and asks nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from connector.control.records import Halt
from connector.kafka.histogram import Histogram
from connector.redaction import printable
from connector.service.status import Accounting, ConnectionStatus, ServiceStatus

UP, DOWN, SAME = "green", "red", "dim"
# state: (the words that a narrow column has room for, style)
_STATES = {
    "connected": ("connected", "green"),
    "connecting": ("connecting", "yellow"),
    "backing_off": ("retrying", "yellow"),
    "waiting_for_slot": ("no slot yet", "yellow"),
    "waiting_for_token": ("no token", "bold yellow"),
    "failed": ("failed", "bold red"),
    # somebody wants it so, until the command resume
    "paused": ("paused", "yellow"),
    "stopped": ("stopped", "yellow"),
}
# currencies are quoted in paise and their hundredths
_DECIMALS = {"CDS": 4, "BCD": 4}
_MAX_EXCHANGES = 9
_MAX_WIDTH = 110
_WIDE = 140
"""From so many columns on there is room for what is wrong with a connection."""


@dataclass(slots=True)
class Price:
    """The last price of an instrument, as read from Kafka."""

    name: str
    last_price: float | None = None
    close: float | None = None
    decimals: int = 2
    direction: int = 0
    """1 up, -1 down against the price before, 0 the same."""

    def apply(self, tick: Mapping[str, Any]) -> None:
        """Apply a newer tick of the instrument."""
        price = tick["last_price"]
        if self.last_price is not None and price != self.last_price:
            self.direction = 1 if price > self.last_price else -1
        self.last_price = price
        self.decimals = _DECIMALS.get(tick["exchange"], 2)
        if tick.get("ohlc"):
            self.close = tick["ohlc"]["close"]

    @property
    def text(self) -> str:
        """The price as its exchange quotes it."""
        return "" if self.last_price is None else f"{self.last_price:,.{self.decimals}f}"

    @property
    def change(self) -> float | None:
        """The change against the close of the day before, per cent."""
        if self.last_price is None or not self.close:
            return None
        return (self.last_price - self.close) * 100 / self.close


@dataclass(slots=True)
class Hint:
    """A line on where to look."""

    label: str
    text: str


@dataclass(slots=True)
class View:
    """Everything on the screen; `statuses` has one for each replica."""

    title: str
    statuses: Sequence[ServiceStatus]
    prices: Sequence[Price] = ()
    hints: Sequence[Hint] = ()
    elapsed_seconds: float = 0.0
    duration_seconds: float | None = None
    notice: str = ""
    """The last warning of the log."""
    roles: Sequence[str] = field(default_factory=tuple)
    """The role of each replica, such as leader; empty where there is one."""
    max_width: int | None = _MAX_WIDTH
    """So many columns are used at most; None: all that there are."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Fit the height: first the empty lines go, then the smallest exchanges."""
        height = options.height or console.height
        prices = (len(self.prices) + 1) // 2
        # all but the exchanges' own lines, and one left for the cursor
        fixed = 1 + 2 + prices + 2 + len(self.hints) + bool(self.notice) + 1
        airy = height >= fixed + _MAX_EXCHANGES + 4
        exchanges = max(1, min(_MAX_EXCHANGES, height - fixed - 4 * airy))
        width = options.max_width if self.max_width is None else self.max_width
        wide = min(width, options.max_width) >= _WIDE
        blocks: list[list[RenderableType]] = [
            [self._header()],
            [
                _side_by_side(
                    Group(self._connections(wide=wide), self._latencies()),
                    self._exchanges(exchanges),
                    left_share=7 if wide else 5,
                )
            ],
            [self._prices()] if self.prices else [],
            [accounting_table(total_accounting(self.statuses))],
            [
                Text.assemble((f"{hint.label:8}", "dim"), hint.text, overflow="fold")
                for hint in self.hints
            ],
        ]
        parts: list[RenderableType] = []
        for block in blocks:
            if parts and block and airy:
                parts.append(Text())
            parts += block
        if self.notice:
            parts.append(Text(self.notice, style="yellow", no_wrap=True, overflow="ellipsis"))
        yield Constrain(Group(*parts), width=width)

    def _header(self) -> RenderableType:
        ready = all(status.ready for status in self.statuses)
        table = Table.grid(expand=True)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        seconds = f"{self.elapsed_seconds:.0f} s"
        if self.duration_seconds is not None:
            seconds += f" of {self.duration_seconds:.0f}"
        codec = self.statuses[0].codec if self.statuses else ""
        state = Text("ready", style="bold green") if ready else Text("not ready", style="yellow")
        table.add_row(
            Text(self.title, style="bold"),
            Text.assemble((f"{codec} codec   {seconds}   ", "dim"), state),
        )
        return table

    def _connections(self, *, wide: bool) -> Table:
        several = len(self.statuses) > 1
        table = _table("slot", *(["replica"] if several else []), "state", "instr.", "ticks/s")
        table.columns[-1].justify = table.columns[-2].justify = "right"
        if wide:
            table.add_column("last frame", justify="right", no_wrap=True)
            table.add_column("what is wrong", no_wrap=True, overflow="ellipsis", ratio=1)
        rows = [
            (connection, number)
            for number, status in enumerate(self.statuses)
            for connection in _connections(status)
        ]
        for connection, number in sorted(rows, key=lambda row: row[0].slot):
            replica = [self._replica(number)] if several else []
            table.add_row(
                str(connection.slot),
                *replica,
                _state(connection),
                _instruments(connection),
                _number(connection.ticks_per_second),
                *(_wrong(connection) if wide else []),
            )
        if not rows:
            reasons = [reason for status in self.statuses for reason in status.not_ready]
            table.add_row("", *([""] if several else []), Text("none", style="dim"), "", "")
            if reasons:
                table.caption = Text(printable(reasons[0]), style="yellow", overflow="fold")
        return table

    def _replica(self, number: int) -> str:
        role = self.roles[number] if number < len(self.roles) else ""
        return f"{number} {role}".rstrip()

    def _exchanges(self, most: int) -> Table:
        table = _table("exchange", "ticks/s", "ticks")
        for column in table.columns[1:]:
            column.justify = "right"
        rates: dict[str, float] = {}
        ticks: dict[str, int] = {}
        for status in self.statuses:
            for exchange in status.exchanges:
                name = exchange.exchange
                rates[name] = rates.get(name, 0.0) + exchange.ticks_per_second
                ticks[name] = ticks.get(name, 0) + exchange.ticks
        streaming = [name for name, count in ticks.items() if count]
        for name in sorted(streaming, key=lambda name: -ticks[name])[:most]:
            table.add_row(name, _number(rates[name]), f"{ticks[name]:,}")
        table.add_row("all", _number(sum(rates.values())), f"{sum(ticks.values()):,}", style="bold")
        return table

    def _prices(self) -> RenderableType:
        half = (len(self.prices) + 1) // 2
        tables = []
        for prices in (self.prices[:half], self.prices[half:]):
            table = Table.grid(expand=True, padding=(0, 1))
            table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
            table.add_column(justify="right", no_wrap=True)
            table.add_column(justify="right", no_wrap=True, min_width=8)
            for price in prices:
                table.add_row(*_price(price))
            tables.append(table)
        return _side_by_side(tables[0], tables[1])

    def _latencies(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for label, name in [
            ("exchange → socket", "exchange_to_receive"),
            ("socket → producer", "receive_to_produce"),
            ("event loop late", "event_loop_lag"),
        ]:
            worst = max(
                (_quantile(getattr(status.latencies, name)) for status in self.statuses),
                default=0.0,
            )
            table.add_row(
                Text(label, style="dim"), Text(f"p99 < {_seconds(worst)}" if worst else "")
            )
        return table


def accounting_table(accounting: Accounting) -> Table:
    """Return the accounting as two lines, whose columns stay in place while the numbers grow."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    row = [Text(f"{accounting.received:,}", style="bold")]
    table.add_column("received", min_width=10, no_wrap=True)
    signs = "=++++"
    for sign, (label, count, style) in zip(signs, _books(accounting), strict=True):
        table.add_column(f"{sign} {label}", min_width=9, no_wrap=True)
        row.append(Text(f"  {count:,}", style=style))
    if not accounting.balanced:
        table.add_column("", no_wrap=True)
        row.append(Text("does not add up", style="bold red"))
    table.add_row(*row)
    return table


def accounting_line(accounting: Accounting) -> str:
    """Return the accounting as one line without colours."""
    parts = " + ".join(f"{label} {count:,}" for label, count, _ in _books(accounting))
    wrong = "" if accounting.balanced else ", which does not add up"
    return f"received {accounting.received:,} = {parts}{wrong}"


def _books(accounting: Accounting) -> list[tuple[str, int, str]]:
    """Return (label, count, style) of each place where records are."""
    return [
        ("delivered", accounting.delivered, "green"),
        ("in flight", accounting.in_flight, ""),
        ("spooled", accounting.spooled, "yellow" if accounting.spooled else "dim"),
        ("dead letters", accounting.dead_lettered, "" if accounting.dead_lettered else "dim"),
        ("dropped", accounting.total_dropped, "bold red" if accounting.total_dropped else "dim"),
    ]


def total_accounting(statuses: Iterable[ServiceStatus]) -> Accounting:
    """Return the accounting of all replicas together."""
    books = [status.accounting for status in statuses]
    dropped: dict[str, int] = {}
    for book in books:
        for reason, count in book.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    return Accounting(
        received=sum(book.received for book in books),
        delivered=sum(book.delivered for book in books),
        in_flight=sum(book.in_flight for book in books),
        spooled=sum(book.spooled for book in books),
        dead_lettered=sum(book.dead_lettered for book in books),
        dropped=dropped,
    )


def _table(*columns: str) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _side_by_side(left: RenderableType, right: RenderableType, left_share: int = 5) -> Table:
    """Lay two columns side by side; `left_share` is in tenths of the width."""
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(ratio=left_share)
    grid.add_column(ratio=10 - left_share)
    grid.add_row(left, right)
    return grid


def _connections(status: ServiceStatus) -> list[ConnectionStatus]:
    """Return the connections of a replica, and the slots that somebody stopped: they have none."""
    slots = (status.cluster or {}).get("slots")
    halts = {
        str(slot): Halt(told["halt"])
        for slot, told in (slots.items() if isinstance(slots, dict) else ())
        if re.fullmatch(r"[0-9]{1,4}", str(slot))
        and isinstance(told, dict)
        and told.get("halt") in list(Halt)
    }
    shown = [replace(one, state=halts.pop(str(one.slot), one.state)) for one in status.connections]
    shown += [ConnectionStatus(int(slot), "", halt) for slot, halt in halts.items()]
    return shown


def _state(connection: ConnectionStatus) -> Text:
    words, style = _STATES.get(connection.state, (connection.state, "dim"))
    return Text(words, style=style)


def _wrong(connection: ConnectionStatus) -> tuple[RenderableType, RenderableType]:
    """Return how old the last frame is, and what is wrong now."""
    age = connection.last_frame_age_seconds
    why = connection.present_trouble or ""
    return ("" if age is None else f"{age:.1f} s", Text(printable(why), style="yellow"))


def _instruments(connection: ConnectionStatus) -> Text:
    if connection.confirmed == connection.desired:
        return Text(str(connection.desired))
    return Text(f"{connection.confirmed}/{connection.desired}", style="yellow")


def _price(price: Price) -> tuple[RenderableType, ...]:
    if price.last_price is None:
        return (price.name, Text("…", style="dim"), "")
    style, arrow = {1: (UP, "▲"), -1: (DOWN, "▼")}.get(price.direction, (SAME, " "))
    change = price.change
    return (
        price.name,
        Text.assemble(f"{price.text} ", (arrow, style)),
        Text("" if change is None else f"{change:+.2f} %", style=_change_style(change)),
    )


def _change_style(change: float | None) -> str:
    return SAME if not change else UP if change > 0 else DOWN


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _quantile(histogram: Histogram) -> float:
    return histogram.quantile(0.99) or 0.0


def _seconds(value: float) -> str:
    if value == float("inf"):
        return "∞"
    if value < 1e-3:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:g} ms" if value < 1 else f"{value:g} s"
