"""Orders: enough of Kite's for a client to place one and be told what becomes of it.

Pure: told the time and the price, it answers with the updates to be posted. A market order fills at
once; a limit order fills where the price is met, else it stays open until it is cancelled; an order
of more than ten crore rupees is rejected before it reaches the exchange.

Source: kite.trade/docs/connect/v3/orders and /postbacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from connector.kite.clock import IST
from connector.simulator.access import RefusedError

FUNDS = 100_000_000.0
"""An order may be worth so many rupees."""

VARIETIES = ("regular", "amo", "co", "iceberg", "auction")
_CHOICES = {
    "transaction_type": ("BUY", "SELL"),
    "order_type": ("MARKET", "LIMIT", "SL", "SL-M"),
    "product": ("CNC", "NRML", "MIS", "MTF"),
    "validity": ("DAY", "IOC", "TTL"),
}


@dataclass(slots=True)
class OrderBook:
    """The orders of all users, oldest first."""

    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def place(
        self,
        variety: str,
        form: Mapping[str, str],
        *,
        user_id: str,
        instrument_token: int,
        last_price: float,
        now: float,
    ) -> list[dict[str, Any]]:
        """Take an order; `now` is in UTC seconds.

        Returns:
            the updates to be posted, the first one's `order_id` being the new order's.

        Raises:
            RefusedError: 400 InputException: a parameter is missing or wrong.
        """
        if variety not in VARIETIES:
            raise _wrong("variety")
        chosen = {
            name: _choice(form, name, choices, "DAY" if name == "validity" else None)
            for name, choices in _CHOICES.items()
        }
        quantity = _number(form, "quantity", int, 1)
        limited = chosen["order_type"] in {"LIMIT", "SL"}
        price = _number(form, "price", float, 0.05) if limited else 0.0
        day = datetime.fromtimestamp(now, IST)
        # Kite's begin with the day, too: 15 digits, ever greater
        order_id = f"{day:%y%m%d}{len(self.orders) + 1:09d}"
        self.orders[order_id] = {
            "user_id": user_id,
            "placed_by": user_id,
            "app_id": 1,
            "checksum": "",
            "order_id": order_id,
            "exchange_order_id": None,
            "parent_order_id": None,
            "status": "PUT ORDER REQ RECEIVED",
            "status_message": None,
            "status_message_raw": None,
            "order_timestamp": _stamp(now),
            "exchange_update_timestamp": None,
            "exchange_timestamp": None,
            "variety": variety,
            "exchange": form.get("exchange", ""),
            "tradingsymbol": form.get("tradingsymbol", ""),
            "instrument_token": instrument_token,
            **chosen,
            "quantity": quantity,
            "disclosed_quantity": 0,
            "price": price,
            "trigger_price": 0,
            "average_price": 0,
            "filled_quantity": 0,
            "pending_quantity": quantity,
            "cancelled_quantity": 0,
            "unfilled_quantity": quantity,
            "market_protection": 0,
            "meta": {},
            "tag": form.get("tag"),
            "guid": f"SIM{order_id}",
        }
        # it never reached the exchange: no exchange_order_id, no exchange_timestamp
        if quantity * (price or last_price) > FUNDS:
            reason = "Insufficient funds"
            update = self._change(
                order_id, now, status="REJECTED", status_message=reason, pending_quantity=0
            )
            return [update]
        updates = [
            self._change(
                order_id, now, status="OPEN", exchange_order_id=f"1{order_id}", reached=True
            )
        ]
        buy = chosen["transaction_type"] == "BUY"
        met = not limited or (last_price <= price if buy else last_price >= price)
        if chosen["order_type"] in {"MARKET", "LIMIT"} and met:
            updates += self.fill(order_id, price=last_price, now=now)
        # immediate or cancel: what is not met at once goes
        elif chosen["validity"] == "IOC":
            updates += self.cancel(order_id, now=now)
        return updates

    def fill(
        self, order_id: str, *, price: float, now: float, quantity: int | None = None
    ) -> list[dict[str, Any]]:
        """Fill an open order, or `quantity` of it: then the status is UPDATE.

        Raises:
            RefusedError: there is no such order, or it is not open.
        """
        order = self._open_order(order_id)
        pending = int(order["pending_quantity"])
        filled = pending if quantity is None else min(max(quantity, 1), pending)
        before = int(order["filled_quantity"])
        average = (before * float(order["average_price"]) + filled * price) / (before + filled)
        return [
            self._change(
                order_id,
                now,
                status="COMPLETE" if filled == pending else "UPDATE",
                filled_quantity=before + filled,
                pending_quantity=pending - filled,
                unfilled_quantity=pending - filled,
                average_price=round(average, 4),
                reached=True,
            )
        ]

    def cancel(self, order_id: str, *, now: float) -> list[dict[str, Any]]:
        """Cancel what is left of an open order.

        Raises:
            RefusedError: there is no such order, or it is not open.
        """
        pending = self._open_order(order_id)["pending_quantity"]
        return [
            self._change(
                order_id,
                now,
                status="CANCELLED",
                cancelled_quantity=pending,
                pending_quantity=0,
                reached=True,
            )
        ]

    def of_user(self, user_id: str) -> list[dict[str, Any]]:
        """Return a user's orders as they are now, oldest first."""
        return [order for order in self.orders.values() if order["user_id"] == user_id]

    def _open_order(self, order_id: str) -> dict[str, Any]:
        order = self.orders.get(order_id)
        if order is None:
            raise RefusedError(404, "OrderException", "Couldn't find that `order_id`.")
        if order["status"] not in {"OPEN", "UPDATE"}:
            raise RefusedError(400, "OrderException", "The order is not open any more.")
        return order

    def _change(
        self, order_id: str, now: float, *, reached: bool = False, **changes: Any
    ) -> dict[str, Any]:
        order = self.orders[order_id]
        order.update(changes)
        if reached:
            # the first stays; exchange_update_timestamp is that of the last change
            order["exchange_timestamp"] = order["exchange_timestamp"] or _stamp(now)
            order["exchange_update_timestamp"] = _stamp(now)
        # a copy: what was posted must not change with the order
        update = dict(order)
        self.history.setdefault(order_id, []).append(update)
        return update


def _stamp(now: float) -> str:
    """Write a time as Kite does: India's, without saying so."""
    return f"{datetime.fromtimestamp(now, UTC).astimezone(IST):%Y-%m-%d %H:%M:%S}"


def _wrong(name: str) -> RefusedError:
    return RefusedError(400, "InputException", f"Invalid `{name}`.")


def _choice(
    form: Mapping[str, str], name: str, choices: tuple[str, ...], default: str | None
) -> str:
    value = form.get(name, default)
    if value not in choices:
        raise _wrong(name)
    return value


def _number(form: Mapping[str, str], name: str, kind: type[float] | type[int], least: float) -> Any:
    try:
        value = kind(form[name])
    except (KeyError, ValueError):
        raise _wrong(name) from None
    if not least <= value < 10**9:
        raise _wrong(name)
    return value
