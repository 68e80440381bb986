"""ClickHouse over the tape, by chdb: the same result as every other reader's."""

import json

import pytest

from connector.cli.clickhouse import clickhouse_tables
from tests.integration.downstream.bars import Bar
from tests.integration.downstream.checksum import NULLABLE, agreed, result
from tests.integration.downstream.engines import documented, in_environment, user_folder

pytestmark = pytest.mark.downstream

PREDICATES = {name: name for name in [*NULLABLE, "ohlc.open", "depth.buy[1].price"]}
# an array is never null: without depth it is empty, and what it lacks is 0
PREDICATES["depth.buy[1].price"] = "if(depth IS NULL, NULL, depth.buy[1].price)"
COUNTS = ", ".join(
    [
        "count() AS `ticks`",
        "sum(volume_traded) AS `volume`",
        *(f"countIf({asked} IS NULL) AS `no {name}`" for name, asked in PREDICATES.items()),
    ]
)


def test_bars_nulls_and_sums_are_those_of_every_reader(new_downstream, tmp_path):
    downstream = new_downstream()
    for day in downstream.days():
        downstream.write(day)
    names = downstream.names
    downstream.create_topics(names.orders, names.events, names.instruments)
    tables = clickhouse_tables(
        downstream.bootstrap_servers, downstream.registry_url, prefix=downstream.prefix
    )
    folder = user_folder(tmp_path)
    scripts = folder / "examples/clickhouse"
    (scripts / "tables.sql").write_text(tables, "utf-8")
    with (scripts / "bars.sql").open("a", encoding="utf-8") as script:
        script.write(f"\nSELECT {COUNTS} FROM ticks FINAL;\n")
    printed = in_environment(
        "clickhouse", folder, documented("docs/downstream.md", "## ClickHouse")
    )
    *bars, counts = [json.loads(line) for line in printed.splitlines()]
    made = [
        Bar(
            start=row["bar_start"].removesuffix(".000"),
            **{name: row[name] for name in Bar._fields if name != "start"},
        )
        for row in bars
    ]
    found = result(
        ticks=counts["ticks"],
        volume=counts["volume"],
        nulls={name: counts[f"no {name}"] for name in PREDICATES},
        made=made,
    )
    assert found == agreed()
