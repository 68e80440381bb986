"""Tests talk to this machine only, whatever proxy the environment has, and assert no time."""

import os
import signal

from hypothesis import settings

for name in ("http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)

# a run in the background ignores Ctrl-C, and what the tests start would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

# a busy machine makes an example slow, and not wrong
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
