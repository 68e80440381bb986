"""The twins of the frame reader, for tests that hold for both."""

import importlib

from connector.kite.feed import _pure


def twins():
    """The class of each twin that there is."""
    try:
        native = importlib.import_module("connector.kite.feed._native")
    except ImportError:
        return [_pure.FrameReader]
    return [native.FrameReader, _pure.FrameReader]


def name_of(twin):
    """`native` or `pure`."""
    return twin.__module__.split("_")[-1]
