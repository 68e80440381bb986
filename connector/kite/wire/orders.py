"""Order updates: from Kite's JSON to `Order`, and one of each although every socket brings a copy.

Source of the fields: kite.trade/docs/connect/v3/postbacks.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from connector.kite.clock import IST
from connector.kite.wire.models import Order, OrderStatus, OrderTransactionType, OrderValidity

# three copies of an update come within moves of the network of each other; this many updates
# lie between the first and the last copy only if thousands of orders change at once
REMEMBERED_UPDATES = 10_000


def parse_order(payload: Mapping[str, Any]) -> Order:
    """Read an order's payload; a missing or malformed field is None, an unknown word UNKNOWN."""
    return Order(
        order_id=_text(payload, "order_id") or "",
        status=OrderStatus(_text(payload, "status") or ""),
        transaction_type=OrderTransactionType(_text(payload, "transaction_type") or ""),
        validity=OrderValidity(_text(payload, "validity") or ""),
        tradingsymbol=_text(payload, "tradingsymbol"),
        exchange=_text(payload, "exchange"),
        instrument_token=_whole(payload, "instrument_token"),
        exchange_order_id=_text(payload, "exchange_order_id"),
        parent_order_id=_text(payload, "parent_order_id"),
        user_id=_text(payload, "user_id"),
        order_type=_text(payload, "order_type"),
        product=_text(payload, "product"),
        variety=_text(payload, "variety"),
        status_message=_text(payload, "status_message"),
        tag=_text(payload, "tag"),
        quantity=_whole(payload, "quantity"),
        filled_quantity=_whole(payload, "filled_quantity"),
        pending_quantity=_whole(payload, "pending_quantity"),
        cancelled_quantity=_whole(payload, "cancelled_quantity"),
        price=_number(payload, "price"),
        trigger_price=_number(payload, "trigger_price"),
        average_price=_number(payload, "average_price"),
        order_timestamp=_time(payload, "order_timestamp"),
        exchange_timestamp=_time(payload, "exchange_timestamp"),
        algo_id=_text(payload, "algo_id"),
        guid=_text(payload, "guid"),
        market_protection=_number(payload, "market_protection"),
        exchange_update_timestamp=_time(payload, "exchange_update_timestamp"),
        placed_by=_text(payload, "placed_by"),
        disclosed_quantity=_whole(payload, "disclosed_quantity"),
        status_message_raw=_text(payload, "status_message_raw"),
        meta=_object(payload, "meta"),
        payload=dict(payload),
    )


class SeenUpdates:
    """Knows which updates were there already: order updates come once on each socket.

    An update has no sequence number, so what tells two of the same order apart is their content.
    Bounded: the oldest updates are forgotten first.
    """

    def __init__(self, capacity: int = REMEMBERED_UPDATES) -> None:
        self._capacity = capacity
        # identities of updates, oldest first
        self._remembered: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self.duplicates = 0  # copies that came, since the start

    def seen(self, payload_text: str) -> bool:
        """True for a text frame whose update was there before; remembers it otherwise.

        Args:
            payload_text: the frame as received, or the order's payload alone, as JSON.
        """
        key = update_identity(payload_text)
        if key in self._remembered:
            self.duplicates += 1
            return True
        self._remembered[key] = None
        if len(self._remembered) > self._capacity:
            self._remembered.popitem(last=False)
        return False


def update_identity(payload_text: str) -> tuple[str, bytes]:
    """What tells an update from every other: its order_id and a digest of its content.

    Args:
        payload_text: the frame as received, or the order's payload alone, as JSON.
    """
    order_id = ""
    canonical = payload_text
    try:
        payload = json.loads(payload_text)
        if isinstance(payload, dict):
            inner = payload.get("data")
            if payload.get("type") == "order" and isinstance(inner, dict):
                payload = inner
            # sockets may be served by different machines: the order of keys is no difference
            canonical = json.dumps(payload, sort_keys=True)
            order_id = str(payload.get("order_id") or "")
    except (ValueError, RecursionError):
        pass  # what cannot be read is told apart by its text
    digest = blake2b(canonical.encode(errors="replace"), digest_size=16).digest()
    return order_id, digest


def _text(payload: Mapping[str, Any], name: str) -> str | None:
    value = payload.get(name)
    if value is None or isinstance(value, dict | list | bool):
        return None
    # JSON can name half a character, which no other encoding can hold
    return str(value).encode(errors="replace").decode()


def _object(payload: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = payload.get(name)
    return value if isinstance(value, dict) else None


def _whole(payload: Mapping[str, Any], name: str) -> int | None:
    value = _number(payload, name)
    # what does not fit 64 bits is no quantity, and has no place in a record either
    return None if value is None or abs(value) >= 2**63 else int(value)


def _number(payload: Mapping[str, Any], name: str) -> float | None:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def _time(payload: Mapping[str, Any], name: str) -> datetime | None:
    """Read `YYYY-MM-DD HH:MM:SS`, which is India's time without saying so, as aware UTC."""
    value = payload.get(name)
    if not isinstance(value, str):
        return None
    try:
        local = datetime.fromisoformat(value)
    except ValueError:
        return None
    if local.tzinfo is None:
        # Kite's times have no zone and mean India's: read as UTC they would be 5:30 h late
        local = local.replace(tzinfo=IST)
    try:
        return local.astimezone(UTC)
    except OverflowError:  # the year 1 or 9999
        return None
