"""The words of the feed: modes, exchanges, ticks, orders, messages and requests.

Field names are Kite's own. Prices are in rupees (or the quote currency) as float, quantities are
plain ints, times are aware UTC datetimes. What a packet does not carry is None, never 0 or 1970.

Source of the facts: kite.trade/docs/connect/v3/websocket and /postbacks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from connector.kite.wire.packets import Tick

from connector.kite.wire.event_time import plausible


class Mode(StrEnum):
    """How much each packet of an instrument carries; comparable with `rank`."""

    LTP = "ltp"
    """Last price only: 8 bytes."""
    QUOTE = "quote"
    """All but depth and times: 44 bytes, 28 for an index."""
    FULL = "full"
    """Everything, five bids and offers: 184 bytes, 32 for an index."""

    Quote = "quote"
    """The same member as QUOTE."""
    Full = "full"
    """The same member as FULL."""

    @property
    def rank(self) -> int:
        """1, 2, 3 for ltp, quote, full: the highest wins where two claims differ."""
        return _RANKS[self.value]


_RANKS = {"ltp": 1, "quote": 2, "full": 3}


class Exchange(Enum):
    """A segment of the feed, in the low byte of each instrument_token.

    `divisor` turns the wire's integer price into rupees. The value is the segment number.
    """

    NSE = 1
    NFO = 2
    CDS = 3
    BSE = 4
    BFO = 5
    BCD = 6
    MCX = 7
    MCXSX = 8
    INDICES = 9
    NCO = 12

    divisor: float
    tradable: bool

    @classmethod
    def of(cls, instrument_token: int) -> Exchange:
        """The exchange of a token.

        Raises:
            ValueError: the segment is not one that the feed is known to have.
        """
        return cls(instrument_token & 0xFF)


_DIVISORS = {Exchange.CDS: 10_000_000.0, Exchange.BCD: 10_000.0, Exchange.NCO: 10_000.0}
for _exchange in Exchange:
    _exchange.divisor = _DIVISORS.get(_exchange, 100.0)
    _exchange.tradable = _exchange is not Exchange.INDICES


class OHLC(NamedTuple):
    """Open, high and low of the day, and the close of the day before."""

    open: float
    high: float
    low: float
    close: float


class DepthItem(NamedTuple):
    """One level of the market depth."""

    quantity: int
    price: float
    orders: int


class Depth(NamedTuple):
    """Five bids and five offers, best first; all zeros after market hours."""

    buy: tuple[DepthItem, ...]
    sell: tuple[DepthItem, ...]


class OpenWord(StrEnum):
    """Words of Kite that may grow: one that is not known here is UNKNOWN, never an error."""

    @classmethod
    def _missing_(cls, value: object) -> OpenWord:  # noqa: ARG003 -- the enum's own signature
        return cls["UNKNOWN"]


class OrderStatus(OpenWord):
    """Status of an order in a postback; a word that Kite adds later is UNKNOWN."""

    COMPLETE = "COMPLETE"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    UPDATE = "UPDATE"
    OPEN = "OPEN"
    UNKNOWN = "UNKNOWN"


class OrderTransactionType(OpenWord):
    """The side of an order: buy or sell."""

    BUY = "BUY"
    SELL = "SELL"
    UNKNOWN = "UNKNOWN"


class OrderValidity(OpenWord):
    """How long an order stands."""

    DAY = "DAY"
    IOC = "IOC"
    TTL = "TTL"
    UNKNOWN = "UNKNOWN"


@dataclass(slots=True)
class Order:
    """An order update as posted by Kite; `payload` is the whole JSON object, unknown keys too.

    Times are aware UTC (the wire has IST without a zone); `exchange_timestamp` is None for an
    order that never reached the exchange.
    """

    order_id: str
    status: OrderStatus
    transaction_type: OrderTransactionType
    validity: OrderValidity
    tradingsymbol: str | None = None
    exchange: str | None = None
    instrument_token: int | None = None
    exchange_order_id: str | None = None
    parent_order_id: str | None = None
    user_id: str | None = None
    order_type: str | None = None
    product: str | None = None
    variety: str | None = None
    status_message: str | None = None
    tag: str | None = None
    quantity: int | None = None
    filled_quantity: int | None = None
    pending_quantity: int | None = None
    cancelled_quantity: int | None = None
    price: float | None = None
    trigger_price: float | None = None
    average_price: float | None = None
    order_timestamp: datetime | None = None
    exchange_timestamp: datetime | None = None
    algo_id: str | None = None
    guid: str | None = None
    market_protection: float | None = None
    exchange_update_timestamp: datetime | None = None
    placed_by: str | None = None
    disclosed_quantity: int | None = None
    status_message_raw: str | None = None
    meta: Mapping[str, Any] | None = None
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class TickerMessage:
    """Whatever a connection hands its user: one of the classes below."""


@dataclass(slots=True)
class TickMessage(TickerMessage):
    """The ticks of one frame, in wire order; `receive_time_us` is UTC microseconds."""

    ticks: list[Tick]
    receive_time_us: int

    def event_time_ms(self, tick: Tick) -> int:
        """UTC milliseconds by which one of its ticks is ordered: as in the records of the service.

        The exchange's time where it is plausible, else the receive time.
        """
        receive_ms = self.receive_time_us // 1000
        if tick.exchange_timestamp is None:
            return receive_ms
        exchange_ms = round(tick.exchange_timestamp.timestamp() * 1000)
        return exchange_ms if plausible(exchange_ms, receive_ms) else receive_ms

    def __iter__(self) -> Iterator[Tick]:
        return iter(self.ticks)

    def __len__(self) -> int:
        return len(self.ticks)


@dataclass(slots=True)
class OrderMessage(TickerMessage):
    """An order postback. Every socket of the user gets its own copy."""

    order: Order


@dataclass(slots=True)
class ErrorMessage(TickerMessage):
    """A complaint of the server, such as too many instruments."""

    text: str


@dataclass(slots=True)
class TextMessage(TickerMessage):
    """Any other text frame: a broker's `message`, or a type that nobody documented."""

    type: str
    data: Any = None
    fault: str = field(default="", compare=False)
    """Why the frame could not be read, a fixed word; "" for one that only nobody documented."""
    size_bytes: int = field(default=0, compare=False)
    """The length of a frame that was too long to be read, and of which `data` is the beginning."""


@dataclass(slots=True)
class FrameMessage(TickerMessage):
    """A binary frame as received, for those who parse themselves."""

    data: bytes
    receive_time_us: int


@dataclass(slots=True)
class ClosingMessage(TickerMessage):
    """The socket closed; a supervised connection reconnects by itself."""

    code: int | None
    reason: str


class Request(NamedTuple):
    """One request to the feed; `str()` is the JSON that goes over the wire."""

    action: str
    value: list[Any]

    @classmethod
    def subscribe(cls, tokens: Iterable[int]) -> Request:
        """Return the request that starts streaming; a token that is new starts in quote mode."""
        return cls("subscribe", [int(token) for token in tokens])

    @classmethod
    def unsubscribe(cls, tokens: Iterable[int]) -> Request:
        """Return the request that ends the streaming of tokens."""
        return cls("unsubscribe", [int(token) for token in tokens])

    @classmethod
    def set_mode(cls, mode: Mode, tokens: Iterable[int]) -> Request:
        """Return the request that changes the mode of tokens that are subscribed."""
        return cls("mode", [Mode(mode).value, [int(token) for token in tokens]])

    def __str__(self) -> str:
        return json.dumps({"a": self.action, "v": self.value}, separators=(",", ":"))


class ConnectionState(StrEnum):
    """The states of a connection; each change of state is an event."""

    IDLE = "idle"
    """The connection was not started yet."""
    CONNECTING = "connecting"
    """The handshake is under way."""
    CONNECTED = "connected"
    """The socket is open and frames are read."""
    BACKING_OFF = "backing_off"
    """The last try failed; the next one has its time."""
    WAITING_FOR_TOKEN = "waiting_for_token"  # noqa: S105 -- a state, not a secret
    """403: nothing is tried until the credentials change."""
    WAITING_FOR_SLOT = "waiting_for_slot"
    """429: the feed has not freed the slot yet."""
    FAILED = "failed"
    """The configured number of attempts is used up."""
    CLOSED = "closed"
    """The connection was closed by its owner."""


class EventType(StrEnum):
    """What can happen to a connection; also the `type` in the topic `kite.events`."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    BACKING_OFF = "backing_off"
    RESUBSCRIBED = "resubscribed"
    SNAPSHOT_DONE = "snapshot_done"
    GAP = "gap"
    WAITING_FOR_TOKEN = "waiting_for_token"  # noqa: S105 -- a state, not a secret
    WAITING_FOR_SLOT = "waiting_for_slot"
    UNCONFIRMED = "unconfirmed"
    STALLED = "stalled"
    TICKS_RESUMED = "ticks_resumed"
    DROPPED = "dropped"
    FAILED = "failed"
    CLOSED = "closed"
    INSTRUMENT_EXPIRED = "instrument_expired"
    INSTRUMENT_CHANGED = "instrument_changed"
    INSTRUMENT_LIST_HELD_BACK = "instrument_list_held_back"
    INSTRUMENT_LIST_ACCEPTED = "instrument_list_accepted"


@dataclass(slots=True, frozen=True)
class ConnectionEvent:
    """An edge in the life of a connection, for logs, metrics and the topic `kite.events`.

    `session_id` is the connect time in UTC milliseconds, None before the first connect. A GAP says
    that nothing was received from `gap_from_ms` to `gap_to_ms` (UTC milliseconds); from None: what
    another process received before is not known. `code` is the
    WebSocket close code of a DISCONNECTED, where the feed sent one.
    """

    type: EventType
    slot: int
    time_ms: int
    session_id: int | None = None
    state: ConnectionState | None = None
    reason: str = ""
    gap_from_ms: int | None = None
    gap_to_ms: int | None = None
    instruments: int | None = None
    tokens: tuple[int, ...] = ()
    code: int | None = None
