"""The simulated market: a seeded random walk, kept as the bytes that go over the wire.

Each instrument is one preformatted packet. An update writes its numbers in place, and quote and ltp
packets are slices of the full one: 20 000 updates a second cost a fraction of a core.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from connector.kite.wire.models import Exchange, Mode
from connector.simulator.candles import Candles
from connector.simulator.universe import ListedInstrument, Universe
from connector.simulator.wire import DEPTH, FIELDS, FULL_BYTES, INDEX, INDEX_FULL_BYTES, MAX_UINT32

_NO_DEPTH = bytes(120)
_TABLE_SIZE = 4093  # prime: instruments that take turns do not meet the same row each round
# a packet's length as a frame has it before the packet
_PREFIXES = {size: size.to_bytes(2, "big") for size in (8, 28, 32, 44, 184)}
_BIG_VOLUME = 2_310_000_000
"""Volume of the busiest index options at the start: above 2³¹, as it really happens."""


class Quote:
    """One instrument's day so far. Prices are the wire's integers.

    `packet` is the length prefix and the packet in the mode asked for, ready for a frame.
    """

    __slots__ = (
        "_average", "_buffer", "_change", "_close", "_fields", "_high", "_high_limit", "_low",
        "_low_limit", "_oi", "_oi_high", "_oi_low", "_open", "_price", "_tick", "_trade_time",
        "_turnover", "_volume", "candles", "index", "listing", "token", "updates",
    )  # fmt: skip

    def __init__(self, listing: ListedInstrument, now: int, rng: random.Random) -> None:
        exchange = listing.feed_exchange
        self.listing = listing
        self.token = listing.instrument_token
        self.index = exchange is Exchange.INDICES  # another layout, and neither volume nor book
        self.updates = 0
        self.candles = Candles(1)
        """Those of the last minutes in which it traded."""
        self._tick = max(round(listing.tick_size * exchange.divisor), 1)
        steps = max(round(listing.price * exchange.divisor / self._tick), 8)
        # a tenth up or down is the day's circuit; the book needs six steps of room below
        band = max(steps // 10, 1)
        self._price = steps * self._tick
        self._low_limit = max(steps - band, 7) * self._tick
        self._high_limit = min(steps + band, MAX_UINT32 // self._tick - 6) * self._tick
        self._open = self._high = self._low = self._price
        self._close = self._price - rng.randint(-band, band) // 8 * self._tick
        busy = listing.segment.endswith("-OPT") and listing.name in {"NIFTY", "SENSEX"}
        self._volume = (_BIG_VOLUME if busy else 0) + rng.randrange(1, 5_000_000)
        # by which the average price follows from what was traded, not from chance
        self._turnover = self._volume * self._price
        derivative = listing.expiry is not None
        self._oi = self._oi_high = self._oi_low = rng.randrange(10**5, 10**7) if derivative else 0
        self._trade_time = now
        if self.index:
            self._buffer = bytearray(2 + INDEX_FULL_BYTES)
            self._buffer[:2] = _PREFIXES[INDEX_FULL_BYTES]
            self._write_index(now)
        else:
            self._buffer = bytearray(2 + FULL_BYTES)
            self._buffer[:2] = _PREFIXES[FULL_BYTES]
            self._write(0, 0, 0, now)

    def packet(self, mode: str) -> bytes:
        """Return length prefix and packet in a mode."""
        if mode == "full":
            return bytes(self._buffer)
        if mode == "quote":
            if self.index:
                return _PREFIXES[28] + self._buffer[2:30]
            return _PREFIXES[44] + self._buffer[2:46]
        return _PREFIXES[8] + self._buffer[2:10]

    @property
    def last_price(self) -> float:
        """The last price in rupees."""
        return self._price / self.listing.feed_exchange.divisor

    def advance(self, row: tuple[int, ...], now: int) -> None:
        """Take one step: `row` is a row of the market's table, `now` epoch seconds."""
        self.updates += 1
        step = row[0]
        price = self._price + step * self._tick
        # reflected at the circuit: the walk never stands still there
        if not self._low_limit <= price <= self._high_limit:
            price = self._price - step * self._tick
        self._price = price
        if price > self._high:
            self._high = price
        elif price < self._low:
            self._low = price
        if self.index:
            self.candles.add(now, price, 0, 0)
            self._write_index(now)
            return
        quantity = row[1]
        if quantity:
            # at its end it stands still: on the real feed a cumulative number never falls
            if self._volume + quantity <= MAX_UINT32:
                self._volume += quantity
                self._turnover += quantity * price
            self._trade_time = now
            if self._oi:
                self._oi += row[2]
                if self._oi > self._oi_high:
                    self._oi_high = self._oi
                elif self._oi < self._oi_low:
                    self._oi_low = self._oi
            self.candles.add(now, price, quantity, self._oi)
        self._write(quantity or 1, row[3], row[4], now)
        tick = self._tick
        DEPTH.pack_into(
            self._buffer, 66,
            row[5], price - tick, row[6], row[7], price - 2 * tick, row[8],
            row[9], price - 3 * tick, row[10], row[11], price - 4 * tick, row[12],
            row[13], price - 5 * tick, row[14],
            row[15], price + tick, row[16], row[17], price + 2 * tick, row[18],
            row[19], price + 3 * tick, row[20], row[21], price + 4 * tick, row[22],
            row[23], price + 5 * tick, row[24],
        )  # fmt: skip

    def trade(self, price: float, row: tuple[int, ...], now: int) -> None:
        """Trade at a price in rupees, whatever the day's circuit; the rest as `advance` does.

        Raises:
            ValueError: the book has no room below the price, or the wire none above it.
        """
        at = round(price * self.listing.feed_exchange.divisor)
        if not 6 * self._tick < at < MAX_UINT32 - 6 * self._tick:
            raise ValueError(f"{self.listing.tradingsymbol} cannot trade at {price}")
        self._price = at
        self._low_limit = min(self._low_limit, at)
        self._high_limit = max(self._high_limit, at)
        self.advance((0, *row[1:]), now)

    def shut(self) -> None:
        """Empty the book, as it is after the market's close."""
        if not self.index:
            self._buffer[66:] = _NO_DEPTH

    def _write(self, quantity: int, buy_quantity: int, sell_quantity: int, now: int) -> None:
        FIELDS.pack_into(
            self._buffer, 2,
            self.token, self._price, quantity, self._turnover // self._volume, self._volume,
            buy_quantity, sell_quantity, self._open, self._high, self._low, self._close,
            self._trade_time, self._oi, self._oi_high, self._oi_low, now,
        )  # fmt: skip

    def _write_index(self, now: int) -> None:
        INDEX.pack_into(
            self._buffer, 2,
            self.token, self._price, self._high, self._low, self._open, self._close,
            self._price - self._close, now,
        )  # fmt: skip


class Market:
    """Quotes by instrument_token, made when first asked for; equal seeds walk alike.

    Args:
        universe: its instruments.
        seed: of all chance.
        now: epoch seconds.
        candle_minutes: candles of so many minutes are kept of each instrument.
    """

    def __init__(self, universe: Universe, seed: int, now: int, candle_minutes: int = 15) -> None:
        self.universe = universe
        self._candle_minutes = candle_minutes
        self.open = True
        self._seed = seed
        self._opened = now  # epoch seconds
        self._quotes: dict[int, Quote] = {}  # by token, of those that were asked for
        # chance made beforehand: 20 000 updates a second leave no time for a generator
        self._rows = _table(random.Random(seed))
        self._row = 0  # of the last update

    def quote(self, token: int) -> Quote | None:
        """Return the quote of a token, None where the market has no such instrument."""
        quote = self._quotes.get(token)
        if quote is None and (listing := self.universe.by_token.get(token)) is not None:
            # of its own: what others are asked for must not change its walk
            rng = random.Random(self._seed << 32 | token)
            quote = self._quotes[token] = Quote(listing, self._opened, rng)
            # a book and a first trade at the opening price, so that a snapshot is a whole packet
            quote.advance((0, *self._rows[token % _TABLE_SIZE][1:]), self._opened)
            quote.candles = Candles(self._candle_minutes)
            if not self.open:
                quote.shut()
        return quote

    def packet(self, token: int, mode: str) -> bytes | None:
        """Return length prefix and packet as they are now; None for an unknown token."""
        quote = self.quote(token)
        return None if quote is None else quote.packet(mode)

    def advance(self, quote: Quote, now: int) -> None:
        """Move one instrument by one step."""
        # one after the other: chance is the same for a seed, whatever the pace
        row = self._row = self._row + 1 if self._row + 1 < _TABLE_SIZE else 0
        quote.advance(self._rows[row], now)

    def trade(self, quote: Quote, price: float, quantity: int, now: int) -> None:
        """Trade one instrument at a price in rupees; raises as `Quote.trade` does."""
        row = self._rows[quote.token % _TABLE_SIZE]
        quote.trade(price, (0, quantity, 0, *row[3:]), now)

    def set_open(self, *, is_open: bool) -> None:
        """Open or shut the market; shut, every book is empty."""
        self.open = is_open
        if not is_open:
            for quote in self._quotes.values():
                quote.shut()


def _table(rng: random.Random) -> list[tuple[int, ...]]:
    """Rows of (step, traded, OI change, total bid, total offered, ten levels' quantity, orders).

    Every third update changes the book alone, as on the real feed: nothing traded, same price.
    """

    def levels() -> Iterator[int]:
        for _ in range(10):
            yield rng.randrange(1, 5_000)
            yield rng.randrange(1, 80)

    rows = []
    for _ in range(_TABLE_SIZE):
        traded = 0 if rng.random() < 0.33 else rng.randrange(1, 900)
        step = rng.choice((-3, -2, -1, -1, 0, 0, 1, 1, 2, 3)) if traded else 0
        rows.append(
            (
                step,
                traded,
                rng.randrange(-40, 41) if traded else 0,
                rng.randrange(10**4, 10**7),
                rng.randrange(10**4, 10**7),
                *levels(),
            )
        )
    return rows


MODES = tuple(mode.value for mode in Mode)
"""The words that a mode request may name."""
