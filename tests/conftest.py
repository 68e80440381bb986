"""Tests talk to this machine only, whatever proxy the environment has, and assert no time."""

import logging
import os
import signal

import pytest
from hypothesis import settings

for name in ("http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)

# a run in the background ignores Ctrl-C, and what the tests start would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

# a busy machine makes an example slow, and not wrong; the same tree gets the same examples, and
# `make fuzz` looks for others
settings.register_profile("search", deadline=None, print_blob=True)
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """A command that runs in the tests' own process sets up the log of all that follow."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
