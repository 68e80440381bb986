"""Java, Maven and Spark: found or fetched once, and run one at a time.

What docs/downstream.md tells to type is typed: in a folder with the examples as a user has them, so
that a test may change addresses and topics in them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.integration.containers import unavailable
from tests.support.documented import block_after, shell_lines

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
BUILD = ROOT / "build/downstream"
BUILT = ("build", "node_modules", "target")
RUN_SECONDS = 600
# runs are short: no time spent on compiling well, and little memory
BRIEF_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx768m")
SPARK_BRIEF = """\
spark.master local[2]
spark.driver.memory 768m
spark.ui.enabled false
spark.log.level WARN
spark.sql.shuffle.partitions 2
"""


def java_home() -> Path:
    """A JDK that all of them run on: Flink takes 17 and newer, Spark 4.1 fails on 25."""
    named = [os.environ.get(name, "") for name in ("JAVA_HOME", "JAVA_HOME_17_X64")]
    places = [Path(name) for name in named if name]
    on_path = shutil.which("java")
    if on_path:
        places.append(Path(on_path).resolve().parents[1])
    places += sorted(Path("/usr/lib/jvm").glob("*"))
    for version in ("17", "21"):
        for place in places:
            if (place / "bin/javac").exists() and _version(place) == version:
                return place
    unavailable("no JDK 17 or 21 is here (Debian: openjdk-17-jdk-headless)")
    raise AssertionError("skipped or failed")


def _version(home: Path) -> str | None:
    try:
        found = re.search(r'^JAVA_VERSION="(\d+)', (home / "release").read_text(), re.MULTILINE)
    except OSError:
        return None
    return found[1] if found else None


def documented(page: str, words: str) -> list[str]:
    """The lines to type of the first shell block behind some words of a page."""
    return shell_lines(block_after(page, words).text)


def user_folder(folder: Path) -> Path:
    """A folder with the examples; what is built and installed in it is kept for the next one."""
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns(*BUILT))
    for project in ("flink", "iceberg", "kafka-streams", "spark", "consumers/java"):
        out = BUILD / project
        out.mkdir(parents=True, exist_ok=True)
        (folder / "examples" / project / "build").symlink_to(out)
    rust = BUILD / "consumers/rust"
    rust.mkdir(parents=True, exist_ok=True)
    (folder / "examples/consumers/rust/target").symlink_to(rust)
    (folder / "build").mkdir()
    for name in ("spark", "clickhouse", "frames"):
        (folder / f"build/{name}").symlink_to(BUILD / f"{name}-venv")
    (folder / "build/iceberg-venv").symlink_to(BUILD / "iceberg-venv")
    return folder


def typed(
    folder: Path,
    lines: Iterable[str],
    *,
    jvm: Iterable[str] = BRIEF_JVM,
    seconds: float = RUN_SECONDS,
    **environment: str,
) -> str:
    """Run lines of shell in a folder; returns what they printed.

    Raises:
        AssertionError: a line failed, or they took longer than `seconds`.
    """
    if shutil.which("mvn") is None:
        unavailable("Maven is not here")
    home = java_home()
    printed = run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        folder,
        seconds=seconds,
        JAVA_HOME=str(home),
        PATH=os.pathsep.join(
            [str(home / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        JAVA_TOOL_OPTIONS=" ".join(jvm),
        **environment,
    )
    # Maven sets the colour back, also where it has none
    return printed.replace("\x1b[0m", "")


def spark(
    folder: Path,
    lines: Iterable[str],
    *,
    jvm: Iterable[str] = BRIEF_JVM,
    seconds: float = RUN_SECONDS,
) -> str:
    """The same for lines that call spark-submit: with few resources, in one process."""
    python_of("spark")
    configuration = folder / "spark-conf"
    configuration.mkdir(exist_ok=True)
    (configuration / "spark-defaults.conf").write_text(SPARK_BRIEF)
    return typed(
        folder,
        lines,
        jvm=jvm,
        seconds=seconds,
        SPARK_CONF_DIR=str(configuration),
        # else it listens on whatever address the host's name stands for
        SPARK_LOCAL_IP="127.0.0.1",
    )


def in_environment(
    name: str, folder: Path, lines: list[str], *, seconds: float = RUN_SECONDS
) -> str:
    """The lines of the page behind the one that makes the environment, which is made once.

    The connector is in it as it is in this tree, compiled or not, in place of an installation.
    """
    environment, *rest = lines
    assert f"-r requirements/{name}.txt" in environment
    python_of(name)
    command = ["bash", "-euo", "pipefail", "-c", "\n".join(rest)]
    return run(command, folder, seconds=seconds, PYTHONPATH=str(ROOT))


def python_of(name: str) -> Path:
    """An environment of its own, as the page tells to make it: these are half a gigabyte each."""
    requirements = ROOT / f"requirements/{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    venv = BUILD / f"{name}-venv"
    stamp, python = venv / ".installed", venv / "bin/python"
    if not stamp.exists() or stamp.read_text() != digest:
        run([sys.executable, "-m", "venv", "--clear", str(venv)], ROOT)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        run([*pip, "--require-hashes", "-r", str(requirements)], ROOT)
        stamp.write_text(digest)
    return python


def run(
    command: list[str], folder: Path, *, seconds: float = RUN_SECONDS, **environment: str
) -> str:
    # in a session of its own, so that what a shell has started ends with it
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        try:
            printed, told = program.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{command[0]} took longer than {seconds:.0f} s") from None
        finally:
            if program.returncode is None:
                os.killpg(program.pid, signal.SIGKILL)
    assert program.returncode == 0, f"{command[0]}\n{printed[-2000:]}\n{told[-8000:]}"
    return printed
