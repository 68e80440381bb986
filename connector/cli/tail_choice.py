"""What `kite-connector tail` shows: since when, of which topics, of which instruments. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from connector.cli.moments import check_past, time_of
from connector.errors import SettingProblem, SettingsError
from connector.kafka.tail import Since, TailRecord
from connector.kafka.topics import TopicNames
from connector.kite.wire.models import Exchange

OTHER_TOPICS: Final = (
    "orders", "events", "deadletter", "control", "replies", "subscriptions", "instruments",
    "latest", "backfill",
)  # fmt: skip
"""The words for topics that hold no ticks."""
MAX_PATTERN_CHARACTERS: Final = 64
MAX_LEARNED: Final = 200_000
"""So many instruments that are none of those asked for are known by their key, at most."""
_DAYS: Final = 366
_OFFSET: Final = re.compile(r"-?\d{1,18}", re.ASCII)
_SINCE_WORDS: Final = (
    "is no start; allowed are 90s, 5m, 2h or 1d ago, a time of today in India such as 09:15, "
    "a date and time such as 2026-01-30T09:15, an offset such as 1200, or -100 for the last 100 "
    "of each partition"
)


def parse_since(text: str, now: datetime) -> Since:
    """Return the place that `--since` means; times without a zone are India's.

    Raises:
        SettingsError: it is none, with what is allowed; or it is to come.
    """
    text = text.strip()
    if _OFFSET.fullmatch(text):
        return Since(offset=int(text))
    time = time_of(text, now)
    if time is None:
        raise SettingsError.of("--since", f"{text!r} {_SINCE_WORDS}")
    time_ms = round(time.timestamp() * 1000)
    check_past(time_ms, text, "--since", now)
    if now - time > timedelta(days=_DAYS):
        raise SettingsError.of(
            "--since", f"{text} is more than {_DAYS} days ago, the most that is allowed"
        )
    return Since(time_ms=time_ms)


class Pattern(NamedTuple):
    """A name of instruments as the user wrote it: `NSE:INFY`, `INFY`, `NFO:NIFTY*`."""

    exchange: str | None
    symbol: re.Pattern[str]

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Read a name; stars and question marks stand for any characters.

        Raises:
            SettingsError: it is none, with what is allowed.
        """
        exchange, colon, name = text.strip().rpartition(":")
        exchange, name = exchange.upper(), name.strip().upper()
        if not name or len(text) > MAX_PATTERN_CHARACTERS:
            raise SettingsError.of(
                "--symbol",
                f"{text[:20]!r} is no symbol; write INFY, NSE:INFY or NFO:NIFTY*, "
                f"{MAX_PATTERN_CHARACTERS} characters at most",
            )
        if colon:
            _exchange("--symbol", exchange)
        return cls(exchange if colon else None, re.compile(fnmatch.translate(name)))

    def matches(self, exchange: str | None, symbol: str) -> bool:
        """Whether it names this instrument; an index has the exchange of its shares, too."""
        ours = self.exchange in (None, exchange) or exchange == Exchange.INDICES.name
        return ours and self.symbol.fullmatch(symbol.upper()) is not None


class AboutInstrument(NamedTuple):
    """The instrument that a record is about, as far as it says."""

    token: int | None
    exchange: str | None
    symbol: str | None


class Choice:
    """A `RecordFilter` of instruments, and the topics that can have them.

    Args:
        names: of the topics.
        words: the topics as the user wrote them; none: all that can have what is asked for.
        symbols: names of instruments; a record is to be of one of these or of `tokens`.
        tokens: instrument tokens, likewise.
        exchanges: a record is to be of one of these, besides.
        watchlist: the tokens that a watchlist claims; a record is to be of one, besides.

    Raises:
        SettingsError: a word is none, or no topic has what is asked for.
    """

    def __init__(
        self,
        names: TopicNames,
        words: Sequence[str] = (),
        *,
        symbols: Iterable[str] = (),
        tokens: Iterable[int] = (),
        exchanges: Iterable[str] = (),
        watchlist: Collection[int] | None = None,
    ) -> None:
        self._patterns = [Pattern.of(text) for text in symbols]
        self._tokens = frozenset(tokens)
        self._exchanges = frozenset(_exchange("--exchange", one.upper()) for one in exchanges)
        self._watchlist = None if watchlist is None else frozenset(watchlist)
        self._ticks = {topic: one.name for one, topic in names.all_ticks().items()}
        self._keyed = {
            *self._ticks,
            names.instruments,
            names.subscriptions,
            names.latest,
            names.backfill,
        }
        # (topic, key) of instruments that were decoded once and are none of those asked for
        self._unwanted: set[tuple[str, bytes]] = set()
        self.filters = bool(
            self._patterns or self._tokens or self._exchanges or self._watchlist is not None
        )
        self.topics = self._chosen(names, words)

    def may_match(self, topic: str, key: bytes | None) -> bool:
        """Whether a record of this key could be one that is asked for."""
        # what is not keyed by token has to be decoded first
        if not self.filters or topic not in self._keyed or key is None:
            return True
        if (topic, key) in self._unwanted:
            return False
        token = _token_of(key)
        if token is None:
            # among ticks a key that is no token is another program's
            return topic not in self._ticks
        if self._watchlist is not None and token not in self._watchlist:
            return False
        return bool(self._patterns) or not self._tokens or token in self._tokens

    def matches(self, record: TailRecord) -> bool:
        """Whether a record is about an instrument that is asked for."""
        if not self.filters or any(self._wants(about) for about in _about(record)):
            return True
        # an instrument keeps its name: its next records need not even be decoded
        if record.topic in self._ticks and record.key is not None and record.problem is None:
            named = isinstance(record.value, dict) and record.value.get("tradingsymbol")
            if named and len(self._unwanted) < MAX_LEARNED:
                self._unwanted.add((record.topic, record.key.encode()))
        return False

    def _wants(self, about: AboutInstrument) -> bool:
        if self._exchanges and about.exchange not in self._exchanges:
            return False
        if self._watchlist is not None and about.token not in self._watchlist:
            return False
        if not (self._patterns or self._tokens) or about.token in self._tokens:
            return True
        return about.symbol is not None and any(
            one.matches(about.exchange, about.symbol) for one in self._patterns
        )

    def _chosen(self, names: TopicNames, words: Sequence[str]) -> list[str]:
        known = {one.lower(): topic for topic, one in self._ticks.items()}
        known |= {word: getattr(names, word) for word in OTHER_TOPICS}
        full = {topic: topic for topic in known.values()}
        unknown = [word for word in words if word.lower() not in known and word not in full]
        if unknown:
            there_are = f"no such topic; there are {', '.join(sorted(known))}"
            raise SettingsError([SettingProblem(word, there_are) for word in unknown])
        chosen = [full.get(word) or known[word.lower()] for word in words] or list(self._ticks)
        if self.filters:
            self._refuse_without_instruments(names, chosen)
            chosen = [topic for topic in chosen if self._can_have(topic)]
            if not chosen:
                raise SettingsError.of(
                    " ".join(words) or "filters", "no topic has what all the filters ask for"
                )
        return list(dict.fromkeys(chosen))

    def _refuse_without_instruments(self, names: TopicNames, chosen: Sequence[str]) -> None:
        allowed = {*self._keyed, names.orders}
        if not (self._patterns or self._exchanges):
            allowed.add(names.events)  # which name instruments by token alone
        for topic in chosen:
            if topic not in allowed:
                raise SettingsError.of(
                    topic,
                    "cannot be filtered so; --symbol and --exchange are for exchanges, orders, "
                    "instruments and subscriptions, --token and --watchlist for events, too",
                )

    def _can_have(self, topic: str) -> bool:
        """Whether a topic of ticks can have one of the instruments; the others always can."""
        exchange = self._ticks.get(topic)
        if exchange is None:
            return True
        if self._exchanges and exchange not in self._exchanges:
            return False
        if self._watchlist is not None and exchange not in set(map(_exchange_of, self._watchlist)):
            return False
        if not (self._patterns or self._tokens):
            return True
        return exchange in set(map(_exchange_of, self._tokens)) or any(
            one.exchange in (None, exchange) or exchange == Exchange.INDICES.name
            for one in self._patterns
        )


def _about(record: TailRecord) -> Iterator[AboutInstrument]:
    """Yield the instruments that a record is about."""
    value = record.value
    if not isinstance(value, dict):
        if (token := _token_of((record.key or "").encode())) is not None:  # its tombstone
            yield _named(token, None, None)
        return
    tokens = value.get("tokens")
    if isinstance(tokens, list):  # an event
        yield from (_named(token, None, None) for token in tokens)
        return
    token = value.get("instrument_token", value.get("token"))
    exchange, symbol = value.get("exchange"), value.get("tradingsymbol")
    if "claims" in value:  # a subscription
        exchange, _, symbol = str(value.get("symbol") or "").partition(":")
    yield _named(token, exchange or None, symbol or None)


def _named(token: Any, exchange: Any, symbol: Any) -> AboutInstrument:
    if not isinstance(token, int):
        token = None
    # another program's record may have anything there
    exchange = exchange if isinstance(exchange, str) else None
    symbol = symbol if isinstance(symbol, str) else None
    if exchange is None and token is not None:
        exchange = _exchange_of(token)
    return AboutInstrument(token, exchange, symbol)


def _token_of(key: bytes) -> int | None:
    return int(key) if key.isdigit() and len(key) <= len(str(2**32)) else None


def _exchange_of(token: int) -> str | None:
    try:
        return Exchange.of(token).name
    except ValueError:
        return None


def _exchange(place: str, name: str) -> str:
    if name not in Exchange.__members__:
        allowed = ", ".join(Exchange.__members__)
        raise SettingsError.of(place, f"{name[:20]!r} is no exchange; there are {allowed}")
    return name


def exchange_topics(words: Sequence[str], names: TopicNames) -> list[str]:
    """Return the tick topics of exchanges, by their names or by the topics'; all without any.

    Raises:
        SettingsError: there is no such exchange.
    """
    ticks = names.all_ticks()
    known = {exchange.name: topic for exchange, topic in ticks.items()}
    known |= {topic: topic for topic in ticks.values()}
    chosen = [known.get(word) or known[_exchange(word, word.upper())] for word in words]
    return list(dict.fromkeys(chosen)) or list(ticks.values())
