"""Spark over the topics: bars equal to Python's, before and after the schema moves on."""

import json

import pytest

from connector.cli.downstream import topic_pattern
from tests.integration.downstream.bars import Bar
from tests.integration.downstream.engines import documented, spark, user_folder

pytestmark = [pytest.mark.integration, pytest.mark.downstream]


def run_bars(downstream, folder, topic: str) -> list[Bar]:
    """The example as it is; what it did before is in its checkpoint."""
    environment, *lines = documented("docs/downstream.md", "## Spark")
    assert "-r requirements/spark.txt" in environment, "made once for all runs"
    lines[-1] = lines[-1].replace("--topic kite.bars.1m", f"--topic {topic}") + (
        f" --bootstrap-servers {downstream.bootstrap_servers}"
        f" --registry-url {downstream.registry_url}"
        f" --topic-pattern '{topic_pattern('tick', downstream.prefix)}' --once --list"
    )
    printed = spark(folder, lines)
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
    folder = user_folder(tmp_path)
    before = run_bars(downstream, folder, bars)
    assert before == downstream.bars

    # the stream goes on from its checkpoint, and knows the newer schema since its start
    downstream.evolve()
    downstream.write(downstream.half_in_newer_schema(second_day))
    after = run_bars(downstream, folder, bars)
    assert after == downstream.bars
    assert len(after) > len(before)
