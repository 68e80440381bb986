"""All that tests talk to is on this machine, whatever proxy the environment has."""

import os

for name in ("http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)
