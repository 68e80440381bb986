"""Which slots there are, and whose: from the settings alone.

Account k has the slots 3k, 3k+1 and 3k+2, whether or not it may use them all. So an account that
gets fewer connections, or a new one at the end of the list, renumbers nobody's slots.
"""

from __future__ import annotations

from collections.abc import Sequence

from connector.control.state import Layout
from connector.kite.config import MAX_CONNECTIONS_PER_KEY
from connector.settings.models import AccountSettings, Settings


def slots_by_account(accounts: Sequence[AccountSettings]) -> dict[int, int]:
    """Map each slot that may have a connection to the number of its account."""
    return {
        number * MAX_CONNECTIONS_PER_KEY + connection: number
        for number, account in enumerate(accounts)
        for connection in range(account.connections)
    }


def partitions(accounts: Sequence[AccountSettings]) -> int:
    """Return how many partitions `kite.subscriptions` needs."""
    return len(accounts) * MAX_CONNECTIONS_PER_KEY


def layout(settings: Settings) -> Layout:
    """Return where the leader may place instruments, and how many."""
    slots = slots_by_account(settings.accounts)
    return Layout(
        tuple(slots),
        settings.connection.max_symbols_per_connection,
        settings.cluster.watchlist_max_instruments,
        tuple(
            (
                account.name,
                tuple(slot for slot, owner in slots.items() if owner == number),
            )
            for number, account in enumerate(settings.accounts)
        ),
    )
