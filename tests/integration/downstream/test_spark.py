"""Spark over the topics: bars equal to Python's, before and after the schema moves on."""

import json
import shutil

import pytest

from connector.downstream import topic_pattern
from tests.integration.downstream.bars import Bar
from tests.integration.downstream.engines import EXAMPLES, spark

pytestmark = [pytest.mark.integration, pytest.mark.downstream]


def run_bars(downstream, folder, topic: str) -> list[Bar]:
    """The example as it is; what it did before is in its checkpoint."""
    for name in ("bars.py", "ticks.py"):
        shutil.copy(EXAMPLES / "spark" / name, folder)
    printed = spark(
        folder / "bars.py",
        *("--bootstrap-servers", downstream.bootstrap_servers),
        *("--registry-url", downstream.registry_url),
        *("--topic-pattern", topic_pattern("tick", downstream.prefix)),
        *("--topic", topic, "--checkpoint", str(folder / "checkpoint"), "--once", "--list"),
    )
    rows = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return sorted(bar_of(row) for row in rows)


def bar_of(row: dict) -> Bar:
    start = row["bar_start"].removesuffix(".000Z").replace("T", " ")
    # to JSON, Spark leaves out what is null
    return Bar(start=start, **{name: row.get(name) for name in Bar._fields if name != "start"})


def test_bars_are_equal_before_and_after_the_schema_moves_on(new_downstream, tmp_path):
    downstream = new_downstream()
    bars = f"{downstream.prefix}.bars"
    downstream.create_topics(bars)
    first_day, second_day = downstream.days()
    downstream.write(first_day)
    before = run_bars(downstream, tmp_path, bars)
    assert before == downstream.bars

    # the stream goes on from its checkpoint, and knows the newer schema since its start
    downstream.evolve()
    downstream.write(downstream.half_in_newer_schema(second_day))
    after = run_bars(downstream, tmp_path, bars)
    assert after == downstream.bars
    assert len(after) > len(before)
