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
    ParseTickError,
    SilentConnectionError,
    TokenMissingError,
    TokenRejectedError,
    TooManyConnectionsError,
)
from connector.kite.channel import Channel, ChannelStats
from connector.kite.config import ChannelPolicy, ConnectionConfig, KiteManagerConfig
from connector.kite.credentials import Credentials, FileCredentials, StaticCredentials
from connector.kite.handler import Handler
from connector.kite.health import HealthStatus, HealthSummary
from connector.kite.manager import KiteTickerManager
from connector.kite.models import (
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
    Tick,
    TickerMessage,
    TickMessage,
)
from connector.kite.packets import parse_frame
from connector.kite.stats import ChannelId, ConnectionStats, ManagerStats
from connector.kite.subscriber import KiteTickerSubscriber
from connector.kite.ticker import KiteTickerAsync

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
    "parse_frame",
]
