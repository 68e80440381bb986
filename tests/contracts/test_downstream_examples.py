"""The generated examples are what the generator makes of today's schemas.

Written anew with `python -m tests.contracts.test_downstream_examples`.
"""

from pathlib import Path

import pytest

from connector.cli.clickhouse import clickhouse_tables
from connector.cli.downstream import flink_tables, spark_reader, topic_pattern

EXAMPLES = Path(__file__).parents[2] / "examples"
BOOTSTRAP_SERVERS = "localhost:9094"
REGISTRY_URL = "http://localhost:8081/apis/ccompat/v7"

GENERATED = {
    "flink/tables.sql": flink_tables(BOOTSTRAP_SERVERS, REGISTRY_URL),
    "clickhouse/tables.sql": clickhouse_tables(BOOTSTRAP_SERVERS, REGISTRY_URL),
    "spark/ticks.py": spark_reader(topic_pattern("tick"), BOOTSTRAP_SERVERS, REGISTRY_URL),
}


@pytest.mark.parametrize("name", GENERATED)
def test_example_is_current(name):
    assert (EXAMPLES / name).read_text("utf-8") == GENERATED[name], (
        "write it anew with `python -m tests.contracts.test_downstream_examples`"
    )


if __name__ == "__main__":
    for name, text in GENERATED.items():
        (EXAMPLES / name).write_text(text, "utf-8")
