"""Kite's official Python ticker, on this connector's engine.

    from connector.compat import KiteTicker

takes the place of `from kiteconnect import KiteTicker`, and the program stays as it is;
docs/library.md lists what differs.
"""

from connector.compat.ticker import KiteTicker

__all__ = ["KiteTicker"]
