"""Text frames: JSON objects with a `type`, of which only some are documented."""

from __future__ import annotations

import json

from connector.kite.wire.models import ErrorMessage, OrderMessage, TextMessage, TickerMessage
from connector.kite.wire.orders import parse_order


def parse_message(text: str) -> TickerMessage:
    """Decode a text frame; whatever is not known becomes a `TextMessage`, nothing raises.

    A frame that is not a JSON object gives a `TextMessage` of type "" with the text as its data.
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return TextMessage("", text)
    if not isinstance(message, dict):
        return TextMessage("", text)
    kind = message.get("type")
    data = message.get("data")
    if kind == "order" and isinstance(data, dict):
        return OrderMessage(parse_order(data))
    if kind == "error":
        return ErrorMessage(data if isinstance(data, str) else json.dumps(data))
    return TextMessage(kind if isinstance(kind, str) else "", data)
