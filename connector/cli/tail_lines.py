"""How `kite-connector tail` writes a record: as JSON, as CSV, or for a terminal.

A terminal's line has columns of fixed widths that hold any number there can be; those that the
terminal has no room for are left out whole, the least important first. What is no tick is one line.
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from rich.console import Console
from rich.text import Text

from connector import schemas  # type: ignore[attr-defined]  # another folder
from connector.cli.moments import in_india
from connector.cli.terminal_view import DOWN, SAME, UP, Price
from connector.errors import SettingsError
from connector.kafka.registry import topic_schemas
from connector.kafka.tail import TailRecord
from connector.kafka.topics import TopicNames
from connector.kite.clock import IST
from connector.redaction import first_of, printable, printable_json

HEADER_EACH: Final = 40
"""The header comes again after so many ticks: the one before has left the screen."""
_MAX_NAME: Final = 32
_MIN_NAME: Final = 22
_FEW: Final = 5
_RAW_BYTES: Final = 16
_NOT_OURS: Final = (KeyError, TypeError, AttributeError, ValueError, OverflowError)
"""The errors of a record that another program wrote, in whatever shape."""


class Lines(Protocol):
    """One way to write records."""

    def of(self, record: TailRecord) -> str:
        """Return what is to be written for a record, without the last line break."""


class JsonLines:
    """A JSON object a line: the whole record."""

    def of(self, record: TailRecord) -> str:
        """Return the record as one line of JSON."""
        document = dataclasses.asdict(record)
        if record.problem is None:
            del document["problem"]
        return printable_json(document, default=_plain)


class CsvLines:
    """Columns of one kind of record, under a header; parts of a record are `ohlc.open`.

    Raises:
        SettingsError: the topics have not the same columns.
    """

    def __init__(self, topics: Sequence[str], names: TopicNames) -> None:
        kinds = topic_schemas(names)
        found = {kinds.get(topic) for topic in topics}
        if len(found) > 1:
            raise SettingsError.of("--csv", "these topics have different columns; name those alike")
        schema = found.pop()
        self._columns = [("value",)] if schema is None else _columns(schemas.load(schema))
        self._own = ("topic", "partition", "offset", "timestamp_ms", "key", "problem")
        self._header = True

    def of(self, record: TailRecord) -> str:
        """Return the record's line, the first time with the header before it."""
        rows: list[list[Any]] = []
        if self._header:
            rows.append([*self._own, *(".".join(path) for path in self._columns)])
            self._header = False
        value = record.value
        if self._columns == [("value",)] or not isinstance(value, dict):
            value = {"value": value}
        rows.append(
            [
                *(getattr(record, name) for name in self._own),
                *(_cell(value, path) for path in self._columns),
            ]
        )
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(
            [printable("" if cell is None else str(cell)) for cell in row] for row in rows
        )
        return out.getvalue().removesuffix("\n")


def _columns(schema: Mapping[str, Any]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for field in schema["fields"]:
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        inner = [kind for kind in kinds if isinstance(kind, dict) and kind.get("type") == "record"]
        if inner:
            found += [(field["name"], *path) for path in _columns(inner[0])]
        else:
            found.append((field["name"],))
    return found


def _cell(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, dict | list):
        return printable_json(value, default=_plain)
    if isinstance(value, bytes | datetime):
        plain = _plain(value)
        return plain["base64"] if isinstance(plain, dict) else plain
    return str(value).lower() if isinstance(value, bool) else value


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return str(value)  # a day or a decimal, of a schema that is not ours


class _Column(NamedTuple):
    title: str
    width: int
    rank: int
    """What has the highest goes first where there is no room."""
    text: Callable[[TailRecord], str]
    left: bool = False


def _number(field: str) -> Callable[[TailRecord], str]:
    def text(record: TailRecord) -> str:
        value = record.value.get(field)
        return "" if value is None else f"{value:,}"

    return text


def _price(field: str) -> Callable[[TailRecord], str]:
    def text(record: TailRecord) -> str:
        value = record.value.get(field)
        if value is None:
            return ""
        price = Price("", value)
        price.apply({"last_price": value, "exchange": record.value["exchange"]})
        return price.text

    return text


def _change(record: TailRecord) -> str:
    change = _change_percent(record)
    if change is None:
        return ""
    text = f"{change:+.2f}%"
    return text if len(text) <= len("+9999.99%") else f"{change:+.1e}%"


def _change_percent(record: TailRecord) -> float | None:
    price = Price("")
    price.apply(record.value)
    return price.change


# so wide that 4,294,967,295 and -21,474,836.48 have room, the longest that a packet can have
_COLUMNS: Final = (
    _Column("time (India)", 12, 2, lambda record: _clock(record.timestamp_ms), left=True),
    _Column("instrument", _MIN_NAME, 0, lambda record: _name(record.value), left=True),
    _Column("mode", 5, 5, lambda record: str(record.value["mode"]), left=True),
    _Column("last price", 14, 1, _price("last_price")),
    _Column("change", 9, 3, _change),
    _Column("volume", 13, 4, _number("volume_traded")),
    _Column("best bid", 14, 6, _price("best_bid_price")),
    _Column("best ask", 14, 7, _price("best_ask_price")),
    _Column("oi", 13, 10, _number("oi")),
    _Column("slot", 4, 8, lambda record: str(record.value["slot"])),
    _Column("sequence", 12, 9, lambda record: str(record.value["sequence"])),
    _Column("snapshot", 8, 11, lambda record: "yes" if record.value["snapshot"] else ""),
    _Column("offset", 12, 12, lambda record: str(record.offset)),
)


class TableLines:
    """Lines for a terminal: ticks in columns under a header, everything else in one line.

    Args:
        names: tells the topics' kinds.
        width: returns the columns of the terminal at the moment.
        colors: whether to colour.
    """

    def __init__(self, names: TopicNames, width: Callable[[], int], *, colors: bool = True) -> None:
        self._prefix = f"{names.prefix}."
        self._kinds: dict[str, Callable[[TailRecord], str]] = {
            names.events: _event,
            names.replies: _reply,
            names.control: _command,
            names.orders: _order,
            names.instruments: _instrument,
            names.backfill: _candle,
            names.subscriptions: _subscription,
            names.deadletter: _dead_letter,
        }
        self._width = width
        # the columns, and the name's width, of the header that was printed last: a terminal may be
        # resized
        self._shown: tuple[_Column, ...] = ()
        self._name_width = 0
        self._since_header = 0
        self._out = io.StringIO()
        self._console = Console(
            file=self._out, force_terminal=colors, highlight=False, soft_wrap=True
        )

    def of(self, record: TailRecord) -> str:
        """Return the record's line, with the header before it where it is time for one."""
        width = max(20, self._width())
        shown, name_width = fitting(width)
        cells = _cells(record, shown)
        if cells is None:
            return self._styled(self._other(record, width))
        text = Text()
        stale = (shown, name_width) != (self._shown, self._name_width)
        if stale or self._since_header >= HEADER_EACH:
            self._shown, self._name_width, self._since_header = shown, name_width, 0
            titles = " ".join(_laid(one.title, one, name_width) for one in shown)
            text.append(titles.rstrip() + "\n", style="dim")
        self._since_header += 1
        for number, (column, (cell, style)) in enumerate(zip(shown, cells, strict=True)):
            text.append(" " * bool(number) + _laid(printable(cell), column, name_width), style)
        return self._styled(text)

    def _other(self, record: TailRecord, width: int) -> Text:
        text = Text()
        text.append(_clock(record.timestamp_ms), style="dim")
        text.append(f" {record.topic.removeprefix(self._prefix)}  ", style="cyan")
        try:
            told = _unknown(record) if record.problem else self._kinds[record.topic](record)
        except _NOT_OURS:
            told = _unknown(record)
        text.append(printable(told))
        if record.problem:
            text.append(f"  {printable(record.problem)}", style="red")
        text.truncate(width, overflow="ellipsis")
        return text

    def _styled(self, text: Text) -> str:
        self._out.seek(0)
        self._out.truncate()
        text.rstrip()
        self._console.print(text, end="")
        return self._out.getvalue()


def fitting(width: int) -> tuple[tuple[_Column, ...], int]:
    """Return the columns that a terminal has room for, and the width of the name's."""
    kept: set[int] = set()
    left = width + 1
    for column in sorted(_COLUMNS, key=lambda one: one.rank):
        if column.width + 1 > left and kept:
            break
        kept.add(column.rank)
        left -= column.width + 1
    shown = tuple(column for column in _COLUMNS if column.rank in kept)
    return shown, min(_MAX_NAME, _MIN_NAME + max(0, left))


def _cells(record: TailRecord, columns: Sequence[_Column]) -> list[tuple[str, str]] | None:
    """Return a tick's text and style in each of these columns; None where it is no tick."""
    value = record.value
    if not isinstance(value, dict) or not {"last_price", "mode", "sequence"} <= value.keys():
        return None
    try:
        return [(column.text(record), _style(column, record)) for column in columns]
    except _NOT_OURS:
        return None


def _laid(text: str, column: _Column, name_width: int) -> str:
    width = name_width if column.rank == 0 else column.width
    if column.rank == 0 and len(text) > width:
        text = text[: width - 1] + "…"
    return text.ljust(width) if column.left else text.rjust(width)


def _style(column: _Column, record: TailRecord) -> str:
    if column.rank == 0:
        return "bold"
    if column.title == "change":
        change = _change_percent(record)
        return SAME if not change else UP if change > 0 else DOWN
    return "dim" if column.title in {"time (India)", "slot", "sequence", "offset"} else ""


def _name(value: Mapping[str, Any]) -> str:
    return f"{value['exchange']}:{value['tradingsymbol'] or value['instrument_token']}"


def _clock(time_ms: int) -> str:
    time = in_india(time_ms)
    return "--:--:--.---" if time is None else time.strftime("%H:%M:%S.%f")[:-3]


def _moment(value: Any) -> str:
    return value.astimezone(IST).strftime("%H:%M:%S.%f")[:-3] if value is not None else "?"


def _joined(*parts: Any) -> str:
    return "  ".join(str(part) for part in parts if part not in (None, "", ()))


def _event(record: TailRecord) -> str:
    event = record.value
    gap = ""
    if event["gap_to"] is not None:
        gap = f"from {_moment(event['gap_from'])} to {_moment(event['gap_to'])}"
        if event["gap_from"] is not None:
            gap += f" ({(event['gap_to'] - event['gap_from']).total_seconds():.1f} s)"
    count = event["instruments"]
    return _joined(
        f"slot {event['slot']}",
        event["type"],
        gap,
        "" if count is None else f"{count} instruments",
        event["reason"],
        f"tokens {first_of(event['tokens'], _FEW)}" if event["tokens"] else "",
    )


def _reply(record: TailRecord) -> str:
    reply = record.value
    refused = [f"{one['instrument']} ({one['reason']})" for one in reply.get("refused") or ()]
    return _joined(
        reply["status"],
        f"revision {reply['revision']}",
        reply.get("type"),
        reply.get("watchlist"),
        f"{reply.get('accepted', 0)} accepted",
        f"{len(refused)} refused: {first_of(refused, _FEW)}" if refused else "",
        "; ".join(reply.get("errors") or ()),
        "dry run" if reply.get("dry_run") else "",
        f"by {reply['by']}" if reply.get("by") else "",
        f"id {reply['id']}",
    )


def _command(record: TailRecord) -> str:
    command = record.value
    instruments = command.get("instruments")
    count = ""
    if isinstance(instruments, list):
        count = f"{len(instruments)} instruments: {first_of(instruments, _FEW)}"
    known = {"type", "id", "watchlist", "instruments", "mode", "by"}
    more = [f"{name}={json.dumps(value)}" for name, value in command.items() if name not in known]
    return _joined(
        command["type"],
        command.get("watchlist"),
        command.get("mode"),
        count,
        *more,
        f"by {command['by']}" if command.get("by") else "",
        f"id {command.get('id')}",
    )


def _order(record: TailRecord) -> str:
    order = record.value
    filled, quantity = order["filled_quantity"], order["quantity"]
    price = order["average_price"] or order["price"]
    return _joined(
        order["order_id"],
        order["status"],
        order["transaction_type"],
        f"{filled or 0:,} of {quantity:,}" if quantity is not None else "",
        f"{order['exchange']}:{order['tradingsymbol']}" if order["tradingsymbol"] else "",
        f"at {price:,}" if price else "",
        order["status_message"],
    )


def _instrument(record: TailRecord) -> str:
    if record.value is None:
        return f"{record.key}  is gone"
    row = record.value
    return _joined(
        f"{row['exchange']}:{row['tradingsymbol']}",
        row["instrument_token"],
        row["instrument_type"],
        f"expires {row['expiry']}" if row["expiry"] else "",
        f"lot {row['lot_size']}",
        f"tick {row['tick_size']}",
        row["name"],
    )


def _candle(record: TailRecord) -> str:
    row = record.value
    return _joined(
        _name(row),
        _moment(row["event_time"])[:5],
        *(f"{name} {row[name]:,}" for name in ("open", "high", "low", "close")),
        f"volume {row['volume']:,}",
        "" if row["oi"] is None else f"oi {row['oi']:,}",
        f"slot {row['slot']}",
        row["cause"],
    )


def _subscription(record: TailRecord) -> str:
    slot = f"slot {record.partition}"
    if record.value is None:
        return _joined(slot, record.key, "ends", record.headers.get("moved-to", "") and "moved")
    value = record.value
    if not isinstance(value, dict) or "claims" not in value:
        return _joined(slot, record.key, _unknown(record))
    claims = ", ".join(f"{name} ({mode})" for name, mode in value["claims"].items())
    return _joined(slot, value["token"], value["symbol"], value["mode"], f"claimed by {claims}")


def _dead_letter(record: TailRecord) -> str:
    return _joined(record.key, record.headers.get("reason"), _unknown(record))


def _unknown(record: TailRecord) -> str:
    value = record.value
    if isinstance(value, bytes):
        more = " …" if len(value) > _RAW_BYTES else ""
        return f"{len(value)} bytes: {value[:_RAW_BYTES].hex(' ')}{more}"
    return json.dumps(value, default=str, ensure_ascii=False)
