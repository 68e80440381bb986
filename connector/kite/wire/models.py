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
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from connector.kite.wire.packets import Tick

from connector.kite.wire.event_time import plausible


class Mode(StrEnum):
    """How much each packet of an instrument carries; comparable with `rank`.

    Attributes:
        LTP: the last price only: 8 bytes.
        QUOTE: all but depth and times: 44 bytes, 28 for an index.
        FULL: everything, five bids and offers: 184 bytes, 32 for an index.
    """

    LTP = "ltp"
    QUOTE = "quote"
    FULL = "full"

    if TYPE_CHECKING:
        Quote = QUOTE
        Full = FULL

    @property
    def rank(self) -> int:
        """1, 2, 3 for ltp, quote, full: the highest wins where two claims differ."""
        return _RANKS[self.value]


# other spellings, which are no members: what makes a type of the members wants each once
for _name, _mode in (("Quote", Mode.QUOTE), ("Full", Mode.FULL)):
    setattr(Mode, _name, _mode)

_RANKS = {"ltp": 1, "quote": 2, "full": 3}


class Exchange(Enum):
    """A segment of the feed, in the low byte of each instrument_token.

    The value is the segment number.

    Attributes:
        NSE: shares of the National Stock Exchange.
        NFO: its futures and options.
        CDS: its currency derivatives.
        BSE: shares of the Bombay Stock Exchange.
        BFO: its futures and options.
        BCD: its currency derivatives.
        MCX: the commodity exchange.
        MCXSX: the former exchange of this name.
        INDICES: indices of all exchanges, which cannot be traded.
        NCO: commodity derivatives of the National Stock Exchange.
        divisor: turns the wire's integer price into rupees: 100, 10 000 or 10 000 000.
        tradable: whether its instruments can be traded; False for `INDICES` alone.
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

SEGMENTS: Final = frozenset(exchange.value for exchange in Exchange)
"""The segments that the feed has: the low byte of a token that it could stream is one of these."""


class OHLC(NamedTuple):
    """Open, high and low of the day, and the close of the day before; rupees.

    Attributes:
        open: the first price of the day.
        high: the highest one.
        low: the lowest one.
        close: the closing price of the day before.
    """

    open: float
    high: float
    low: float
    close: float


class DepthItem(NamedTuple):
    """One level of the market depth.

    Attributes:
        quantity: wanted or offered at this price.
        price: rupees; 0 where the level is empty.
        orders: how many orders make the quantity up.
    """

    quantity: int
    price: float
    orders: int


class Depth(NamedTuple):
    """Five bids and five offers, best first; all zeros after market hours.

    Attributes:
        buy: five bids, the highest first.
        sell: five offers, the lowest first.
    """

    buy: tuple[DepthItem, ...]
    sell: tuple[DepthItem, ...]


class OpenWord(StrEnum):
    """Words of Kite that may grow: one that is not known here is UNKNOWN, never an error."""

    @classmethod
    def _missing_(cls, value: object) -> OpenWord:  # noqa: ARG003 -- the enum's own signature
        return cls["UNKNOWN"]


class OrderStatus(OpenWord):
    """Status of an order in a postback.

    Attributes:
        COMPLETE: filled.
        REJECTED: refused; `status_message` says why.
        CANCELLED: cancelled.
        UPDATE: modified, or filled in part.
        OPEN: at the exchange, waiting.
        UNKNOWN: a word that Kite has added since; the order's `payload` has it.
    """

    COMPLETE = "COMPLETE"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    UPDATE = "UPDATE"
    OPEN = "OPEN"
    UNKNOWN = "UNKNOWN"


class OrderTransactionType(OpenWord):
    """The side of an order.

    Attributes:
        BUY: to buy.
        SELL: to sell.
        UNKNOWN: neither; the order's `payload` has the word.
    """

    BUY = "BUY"
    SELL = "SELL"
    UNKNOWN = "UNKNOWN"


class OrderValidity(OpenWord):
    """How long an order stands.

    Attributes:
        DAY: until the end of the day.
        IOC: immediate or cancelled.
        TTL: for some minutes.
        UNKNOWN: a word that Kite has added since; the order's `payload` has it.
    """

    DAY = "DAY"
    IOC = "IOC"
    TTL = "TTL"
    UNKNOWN = "UNKNOWN"


@dataclass(slots=True)
class Order:
    """An order update as posted by Kite: what it does not carry is None, but in `payload`.

    Prices are rupees, quantities whole numbers, and times aware UTC (the wire has IST without a
    zone). Source of the fields: kite.trade/docs/connect/v3/postbacks.

    Attributes:
        order_id: Kite's number of the order; "" where the update has none.
        status: see `OrderStatus`.
        transaction_type: see `OrderTransactionType`.
        validity: see `OrderValidity`.
        tradingsymbol: the instrument's name at its exchange.
        exchange: the exchange's name, NSE for example.
        instrument_token: the instrument's number in the feed.
        exchange_order_id: the exchange's number; None before it has one.
        parent_order_id: of the order that this one belongs to.
        user_id: whose order it is.
        order_type: MARKET, LIMIT, SL or SL-M.
        product: CNC, NRML, MIS or MTF.
        variety: regular, amo, co, iceberg or auction.
        status_message: why it was refused or cancelled, in words.
        tag: the user's own, of up to 20 characters.
        quantity: ordered.
        filled_quantity: traded so far.
        pending_quantity: still waiting.
        cancelled_quantity: cancelled.
        price: at which it was placed, of a LIMIT order.
        trigger_price: at which it becomes active, of an SL order.
        average_price: of what is filled.
        order_timestamp: when Kite took it.
        exchange_timestamp: when the exchange did; None for one that never reached it.
        algo_id: the number of the algorithm that placed it.
        guid: Kite's own mark.
        market_protection: how far a MARKET order may go from the price, per cent.
        exchange_update_timestamp: of the exchange's last change.
        placed_by: who placed it; the user, as a rule.
        disclosed_quantity: the part that others may see.
        status_message_raw: `status_message` as the exchange wrote it.
        meta: details of some varieties, as JSON has them.
        payload: the whole JSON object, keys that nobody documented too.
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
class TickMessage:
    """The ticks of one frame, in wire order; iterable, and as long as its ticks.

    Attributes:
        ticks: of the frame; packets that are no ticks are left out.
        receive_time_us: when the frame was read, UTC microseconds since 1970.
    """

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
class OrderMessage:
    """An order postback. Every socket of the user gets its own copy.

    Attributes:
        order: the update.
    """

    order: Order


@dataclass(slots=True)
class ErrorMessage:
    """A complaint of the server, such as too many instruments.

    Attributes:
        text: in the server's words.
    """

    text: str


@dataclass(slots=True)
class TextMessage:
    """Any other text frame: a broker's `message`, or a type that nobody documented.

    Attributes:
        type: the frame's own word; "" where it has none.
        data: what it carries, as JSON has it; None where it carries nothing.
        fault: why the frame could not be read, a fixed word; "" for one that only nobody
            documented.
        size_bytes: the length of a frame that was too long to be read, and of which `data` is the
            beginning; else 0.
    """

    type: str
    data: Any = None
    fault: str = field(default="", compare=False)
    size_bytes: int = field(default=0, compare=False)


@dataclass(slots=True)
class FrameMessage:
    """A binary frame as received, for `parse_frame`, `frame_array` or a parser of one's own.

    Attributes:
        data: the frame's bytes.
        receive_time_us: when it was read, UTC microseconds since 1970.
    """

    data: bytes
    receive_time_us: int


@dataclass(slots=True)
class ClosingMessage:
    """The socket closed; a supervised connection reconnects by itself.

    Attributes:
        code: of the WebSocket's close frame; None where the socket was lost without one.
        reason: in words.
    """

    code: int | None
    reason: str


TickerMessage: TypeAlias = (
    TickMessage | OrderMessage | ErrorMessage | TextMessage | FrameMessage | ClosingMessage
)
"""Whatever a connection hands its user."""


class Request(NamedTuple):
    """One request to the feed; `str()` is the JSON that goes over the wire.

    Attributes:
        action: subscribe, unsubscribe or mode.
        value: the tokens; of mode, the mode and the tokens.
    """

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
