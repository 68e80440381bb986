"""Ticks in an Iceberg table by Kafka Connect, read back: the same result as every reader's."""

import contextlib
import json
import os
import subprocess
import time
from collections import Counter

import pytest

from tests.integration.downstream.checksum import agreed, checksum
from tests.integration.downstream.engines import (
    documented,
    in_environment,
    java_home,
    typed,
    user_folder,
)
from tests.support.ports import free_ports

pytestmark = pytest.mark.downstream

PAGE = "docs/downstream.md"
PATIENCE_SECONDS = 180


def configured(folder, downstream):
    """The example's files for these topics, with commits that a test waits for gladly."""
    control = f"{downstream.prefix}.iceberg-control"
    downstream.create_topics(control)
    (port,) = free_ports(1)
    for name, ours in {
        "worker.properties": {
            "localhost:9094": downstream.bootstrap_servers,
            "http://localhost:8081/apis/ccompat/v7": downstream.registry_url,
            "127.0.0.1:8083": f"127.0.0.1:{port}",
        },
        "ticks.properties": {
            r"kite\\.ticks": downstream.prefix + r"\\.ticks",
            "kite.iceberg-control": control,
            "kite.iceberg-no-ticks": f"{downstream.prefix}.no-ticks",
            "interval-ms=60000": "interval-ms=3000",
        },
    }.items():
        path = folder / "examples/iceberg" / name
        text = path.read_text("utf-8")
        for default, mine in ours.items():
            assert text.count(default) == 1, f"{name}: {default}"
            text = text.replace(default, mine)
        path.write_text(text, "utf-8")


def rows(folder, more=""):
    """What the documented reader prints."""
    make_environment, read = documented(PAGE, "Read it back")
    printed = in_environment("iceberg", folder, [make_environment, read + more])
    return [json.loads(line) for line in printed.splitlines()]


@contextlib.contextmanager
def connect(folder, start):
    """A worker of Kafka Connect; gives a function that waits for so many rows, and reads them."""
    log = folder / "connect.log"

    def until(count):
        deadline = time.monotonic() + PATIENCE_SECONDS
        found, seen = [], 0
        while len(found) < count:
            assert worker.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"{len(found)} rows\n{log.read_text()[-3000:]}"
            commits = len(list(folder.glob("build/iceberg/warehouse/**/snap-*.avro")))
            if commits == seen:
                time.sleep(1)
                continue
            found, seen = rows(folder), commits
        return found

    with log.open("a") as output:
        worker = subprocess.Popen(
            ["bash", "-c", f"exec {start}"],
            cwd=folder,
            env={**os.environ, "PATH": f"{java_home() / 'bin'}{os.pathsep}{os.environ['PATH']}"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield until
        finally:
            worker.terminate()
            worker.wait(60)


def test_ticks_are_in_the_table_once_by_days_and_with_a_newer_schemas_column(
    new_downstream, tmp_path
):
    downstream = new_downstream()
    folder = user_folder(tmp_path)
    configured(folder, downstream)
    build, make_folder, start = documented(PAGE, "## Iceberg")
    typed(folder, [build, make_folder])
    first_day, second_day = downstream.days()

    downstream.write_no_ticks()
    downstream.write(first_day)
    with connect(folder, start) as until:
        found = until(len(first_day))
    assert len(found) == len(first_day)
    strange = downstream.read(f"{downstream.prefix}.no-ticks", partitions=1)
    assert [key for key, _ in strange] == [b"5"] * downstream.no_ticks
    assert "market_phase" not in found[0]

    downstream.evolve()
    downstream.write(downstream.half_in_newer_schema(second_day))
    with connect(folder, start) as until:
        found = until(len(downstream.written))
    assert len(found) == len(downstream.written)
    assert checksum(found) == agreed()
    assert Counter(row["market_phase"] for row in found) == {
        None: len(first_day) + (len(second_day) + 1) // 2,
        "open": len(second_day) // 2,
    }

    by_day = Counter(row["event_time"][:10] for row in found)
    assert len(by_day) == 2
    for day, count in by_day.items():
        of_the_day = rows(folder, f" --day {day}")
        assert len(of_the_day) == count
        assert {row["event_time"][:10] for row in of_the_day} == {day}
