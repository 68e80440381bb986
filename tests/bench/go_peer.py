"""Builds the program around Kite's own ticker for Go (gokiteconnect) for the benchmark."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "go_ticker"
BUILT = Path(__file__).parents[2] / "build" / "go_ticker" / "go-ticker"


def found() -> Path | None:
    """The program, built where there is a Go; else None, with a line that says so.

    Raises:
        subprocess.CalledProcessError: it cannot be built.
    """
    go = shutil.which("go")
    if go is None:
        print("no go: not beside gokiteconnect", file=sys.stderr)
        return None
    # does nothing where it stands already
    subprocess.run([go, "build", "-trimpath", "-o", str(BUILT), "."], cwd=PROGRAM, check=True)
    return BUILT
