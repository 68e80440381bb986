"""Java, Maven and Spark: found or fetched once, and run one at a time."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.integration.containers import unavailable

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
BUILD = ROOT / "build/downstream"
RUN_SECONDS = 600
# runs are short: no time spent on compiling well, and little memory
BRIEF_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx768m")


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


def maven(project: str, goal: str) -> Path:
    """Build a project under examples/ with its jars in `lib`; returns the folder."""
    if shutil.which("mvn") is None:
        unavailable("Maven is not here")
    out = BUILD / project
    pom = EXAMPLES / project / "pom.xml"
    run(["mvn", "-q", "-B", "-f", str(pom), f"-Dout={out}", goal], JAVA_HOME=str(java_home()))
    return out


def java(project: str, main: str, *arguments: str) -> str:
    """Run a class of a Maven project; returns what it printed."""
    home, out = java_home(), maven(project, "process-classes")
    classpath = f"{out / 'classes'}{os.pathsep}{out / 'lib'}/*"
    return run([str(home / "bin/java"), *BRIEF_JVM, "-cp", classpath, main, *arguments])


def spark(script: Path, *arguments: str) -> str:
    """Run a script with spark-submit; returns what it printed."""
    python = _spark_python()
    jars = ",".join(
        str(jar) for jar in sorted((maven("spark", "process-resources") / "lib").iterdir())
    )
    command = [
        str(python.with_name("spark-submit")),
        *("--master", "local[2]", "--driver-memory", "768m", "--jars", jars),
        *("--driver-java-options", " ".join(BRIEF_JVM[:2])),
        *("--conf", "spark.ui.enabled=false", "--conf", "spark.log.level=WARN"),
        *("--conf", "spark.sql.shuffle.partitions=2"),
    ]
    return run(
        [*command, str(script), *arguments],
        JAVA_HOME=str(java_home()),
        PYSPARK_PYTHON=str(python),
        # else it listens on whatever address the host's name stands for
        SPARK_LOCAL_IP="127.0.0.1",
    )


def _spark_python() -> Path:
    """An environment of its own: pyspark is half a gigabyte."""
    requirements = ROOT / "requirements/spark.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    venv = BUILD / "spark-venv"
    stamp, python = venv / ".installed", venv / "bin/python"
    if not stamp.exists() or stamp.read_text() != digest:
        run([sys.executable, "-m", "venv", "--clear", str(venv)])
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        run([*pip, "--require-hashes", "-r", str(requirements)])
        stamp.write_text(digest)
    return python


def run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command,
        check=False,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, f"{command[0]}\n{done.stdout[-2000:]}\n{done.stderr[-8000:]}"
    return done.stdout
