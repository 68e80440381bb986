"""Docker as tests see it: commands of the client, and whether there is an engine at all."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
IMAGE = "kite-connector:test"
DEADLINE_SECONDS = 120


def need_engine() -> None:
    """Skip without an engine, or fail where one is required."""
    try:
        subprocess.run(["docker", "info"], capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        message = "no Docker engine answers"
        if os.environ.get("REQUIRE_INTEGRATION") == "1":
            pytest.fail(message)
        pytest.skip(message)


def docker(*arguments: str, check: bool = True, **options: Any) -> str:
    """What a command prints; with what it complained of where it fails."""
    done = subprocess.run(
        ["docker", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, **options
    )
    if check and done.returncode:
        pytest.fail(f"docker {' '.join(arguments)}: {done.stderr[-4000:]}{done.stdout[-2000:]}")
    return done.stdout


def build_image(tag: str = IMAGE, context: Path = ROOT) -> None:
    docker("build", "--quiet", "--tag", tag, str(context))


def inspect(thing: str) -> dict:
    return json.loads(docker("inspect", thing))[0]


def wait_for(what: str, met: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    """The first true value of a condition; a deadline makes the test fail, not pass."""
    end = time.monotonic() + seconds
    while not (value := met()):
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.25)
    return value
