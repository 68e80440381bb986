"""Zerodha Kite market data: a ticker, a manager of many connections, and what they speak.

Every name that users of the library need is here; docs/library.md describes them. A name's
module is imported when the name is first used: `import connector` alone costs next to nothing.
"""

import typing

if typing.TYPE_CHECKING:
    from connector.codec.rows.tables import values_to_arrow
    from connector.errors import (
        CapacityError,
        ConnectionClosedError,
        ConnectorError,
        FeedError,
        FeedUnreachableError,
        HandshakeError,
        InstrumentFormatError,
        InstrumentNotFoundError,
        MissingExtraError,
        ParseTickError,
        RestError,
        SilentConnectionError,
        TokenMissingError,
        TokenRejectedError,
        TooManyConnectionsError,
    )
    from connector.kite.client.channel import Channel, ChannelStats
    from connector.kite.client.health import HealthStatus, HealthSummary
    from connector.kite.client.manager import KiteTickerManager
    from connector.kite.client.merged import MergedChannel, TaggedMessage
    from connector.kite.client.stats import AccountStats, ChannelId, ManagerStats
    from connector.kite.client.subscriber import KiteTickerSubscriber
    from connector.kite.client.ticker import KiteTickerAsync
    from connector.kite.config import ChannelPolicy, ConnectionConfig, KiteManagerConfig
    from connector.kite.feed.credentials import Credentials, FileCredentials, StaticCredentials
    from connector.kite.feed.events import ConnectionEvent, ConnectionState, EventType
    from connector.kite.feed.handler import Handler
    from connector.kite.feed.stats import ConnectionStats
    from connector.kite.web.instrument_csv import Instrument
    from connector.kite.web.instrument_list import InstrumentList, OptionChain, OptionStrike
    from connector.kite.wire.arrays import frame_array, packet_dtype
    from connector.kite.wire.models import (
        OHLC,
        ClosingMessage,
        Depth,
        DepthItem,
        ErrorMessage,
        Exchange,
        FrameMessage,
        Mode,
        Order,
        OrderMessage,
        OrderStatus,
        OrderTransactionType,
        OrderValidity,
        Request,
        TextMessage,
        TickerMessage,
        TickMessage,
    )
    from connector.kite.wire.packets import Tick, parse_frame
    from connector.kite.wire.tables import ticks_to_arrow

    __version__: str

__all__ = [
    "OHLC",
    "AccountStats",
    "CapacityError",
    "Channel",
    "ChannelId",
    "ChannelPolicy",
    "ChannelStats",
    "ClosingMessage",
    "ConnectionClosedError",
    "ConnectionConfig",
    "ConnectionEvent",
    "ConnectionState",
    "ConnectionStats",
    "ConnectorError",
    "Credentials",
    "Depth",
    "DepthItem",
    "ErrorMessage",
    "EventType",
    "Exchange",
    "FeedError",
    "FeedUnreachableError",
    "FileCredentials",
    "FrameMessage",
    "Handler",
    "HandshakeError",
    "HealthStatus",
    "HealthSummary",
    "Instrument",
    "InstrumentFormatError",
    "InstrumentList",
    "InstrumentNotFoundError",
    "KiteManagerConfig",
    "KiteTickerAsync",
    "KiteTickerManager",
    "KiteTickerSubscriber",
    "ManagerStats",
    "MergedChannel",
    "MissingExtraError",
    "Mode",
    "OptionChain",
    "OptionStrike",
    "Order",
    "OrderMessage",
    "OrderStatus",
    "OrderTransactionType",
    "OrderValidity",
    "ParseTickError",
    "Request",
    "RestError",
    "SilentConnectionError",
    "StaticCredentials",
    "TaggedMessage",
    "TextMessage",
    "Tick",
    "TickMessage",
    "TickerMessage",
    "TokenMissingError",
    "TokenRejectedError",
    "TooManyConnectionsError",
    "frame_array",
    "packet_dtype",
    "parse_frame",
    "ticks_to_arrow",
    "values_to_arrow",
]

_HOMES: typing.Final = {
    "connector.codec.rows.tables": "values_to_arrow",
    "connector.errors": (
        "CapacityError ConnectionClosedError ConnectorError FeedError "
        "FeedUnreachableError HandshakeError InstrumentFormatError "
        "InstrumentNotFoundError MissingExtraError ParseTickError RestError "
        "SilentConnectionError TokenMissingError TokenRejectedError "
        "TooManyConnectionsError"
    ),
    "connector.kite.client.channel": "Channel ChannelStats",
    "connector.kite.client.health": "HealthStatus HealthSummary",
    "connector.kite.client.manager": "KiteTickerManager",
    "connector.kite.client.merged": "MergedChannel TaggedMessage",
    "connector.kite.client.stats": "AccountStats ChannelId ManagerStats",
    "connector.kite.client.subscriber": "KiteTickerSubscriber",
    "connector.kite.client.ticker": "KiteTickerAsync",
    "connector.kite.config": "ChannelPolicy ConnectionConfig KiteManagerConfig",
    "connector.kite.feed.credentials": "Credentials FileCredentials StaticCredentials",
    "connector.kite.feed.events": "ConnectionEvent ConnectionState EventType",
    "connector.kite.feed.handler": "Handler",
    "connector.kite.feed.stats": "ConnectionStats",
    "connector.kite.web.instrument_list": "InstrumentList OptionChain OptionStrike",
    "connector.kite.web.instrument_csv": "Instrument",
    "connector.kite.wire.arrays": "frame_array packet_dtype",
    "connector.kite.wire.models": (
        "OHLC ClosingMessage Depth DepthItem ErrorMessage Exchange "
        "FrameMessage Mode Order OrderMessage OrderStatus OrderTransactionType "
        "OrderValidity Request TextMessage TickerMessage TickMessage"
    ),
    "connector.kite.wire.packets": "Tick parse_frame",
    "connector.kite.wire.tables": "ticks_to_arrow",
}
"""The module of each name of `__all__`."""
_HOME_OF: typing.Final = {name: home for home, names in _HOMES.items() for name in names.split()}

# hidden from type checkers, for which it would make every name one of this package
if not typing.TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name, or find the version, when it is first asked for (PEP 562)."""
        if name in _HOME_OF:
            import importlib

            value = getattr(importlib.import_module(_HOME_OF[name]), name)
        elif name == "__version__":
            value = _version()
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    """Return the installed version; "unknown" where the sources run without an installation."""
    import importlib.metadata

    try:
        return importlib.metadata.version("kite-connector")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
