"""An earlier commit of this project, built beside it, for benchmarks to compare with.

`BENCH_BASELINE` names the commit; what runs there is its own code, compiled by its own setup.py,
and its own schemas.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMIT = os.environ.get("BENCH_BASELINE", "899a1f6")
BUILD = ROOT / "build" / "baseline"


def tree() -> Path:
    """The commit's files, compiled in place; made on the first call, which takes a minute.

    Raises:
        subprocess.CalledProcessError: there is no such commit, or it cannot be built.
    """
    made = BUILD / COMMIT
    done = made / ".built"
    if not done.exists():
        made.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(
            ["git", "archive", COMMIT], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(made, filter="data")
        subprocess.run(
            [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
            cwd=made, env=os.environ | {"KITE_CONNECTOR_BUILD": "native"}, check=True,
        )  # fmt: skip
        done.touch()
    join_packages(made)
    return made


def join_packages(made: Path) -> None:
    """Put each package of a tree where its own parent finds it.

    One that lies in another folder (`schemas`) is found through the installed tree otherwise: this
    one's, whatever PYTHONPATH says.
    """
    setuptools = tomllib.loads((made / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package, folder in setuptools["package-dir"].items():
        place = made.joinpath(*package.split("."))
        if not place.exists():
            place.symlink_to(made / folder)
