"""Zerodha Kite market data: a ticker, a manager of many connections, and what they speak.

Every name that users of the library need is here; docs/library.md describes them.
"""

from connector.errors import (
    CapacityError,
    ConnectionClosedError,
    ConnectorError,
    FeedError,
    FeedUnreachableError,
    HandshakeError,
    MissingExtraError,
    ParseTickError,
    SilentConnectionError,
    TokenMissingError,
    TokenRejectedError,
    TooManyConnectionsError,
)
from connector.kite.client.channel import Channel, ChannelStats
from connector.kite.client.health import HealthStatus, HealthSummary
from connector.kite.client.manager import KiteTickerManager
from connector.kite.client.stats import ChannelId, ManagerStats
from connector.kite.client.subscriber import KiteTickerSubscriber
from connector.kite.client.ticker import KiteTickerAsync
from connector.kite.config import ChannelPolicy, ConnectionConfig, KiteManagerConfig
from connector.kite.feed.credentials import Credentials, FileCredentials, StaticCredentials
from connector.kite.feed.handler import Handler
from connector.kite.feed.stats import ConnectionStats
from connector.kite.wire.arrays import frame_array, packet_dtype
from connector.kite.wire.models import (
    OHLC,
    ClosingMessage,
    ConnectionEvent,
    ConnectionState,
    Depth,
    DepthItem,
    ErrorMessage,
    EventType,
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

__all__ = [
    "OHLC",
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
    "KiteManagerConfig",
    "KiteTickerAsync",
    "KiteTickerManager",
    "KiteTickerSubscriber",
    "ManagerStats",
    "MissingExtraError",
    "Mode",
    "Order",
    "OrderMessage",
    "OrderStatus",
    "OrderTransactionType",
    "OrderValidity",
    "ParseTickError",
    "Request",
    "SilentConnectionError",
    "StaticCredentials",
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
]
