import re

import pytest

from connector import schemas
from connector.cli.clickhouse import CLICKHOUSE, clickhouse_tables


def record(*fields):
    return {"type": "record", "name": "R", "fields": list(fields)}


def test_a_nullable_field_is_nullable_and_no_other():
    # declared without Nullable, ClickHouse reads null as 0 and says nothing
    for name in schemas.NAMES:
        columns = CLICKHOUSE.columns(schemas.load(name))
        for field in schemas.load(name)["fields"]:
            assert columns[field["name"]].startswith("Nullable(") is isinstance(field["type"], list)


LEVELS = "Array(Tuple(`quantity` Int64, `price` Float64, `orders` Int32))"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("event_time", "DateTime64(3, 'UTC')"),
        ("exchange_timestamp", "Nullable(DateTime64(3, 'UTC'))"),
        ("receive_time_us", "Int64"),
        ("mode", "String"),
        ("tradable", "Bool"),
        ("last_price", "Float64"),
        ("slot", "Int32"),
        (
            "ohlc",
            "Nullable(Tuple(`open` Float64, `high` Float64, `low` Float64, `close` Float64))",
        ),
        ("depth", f"Nullable(Tuple(`buy` {LEVELS}, `sell` {LEVELS}))"),
    ],
)
def test_column_types(name, kind):
    assert CLICKHOUSE.columns(schemas.load("tick"))[name] == kind


@pytest.mark.parametrize(
    ("avro", "reason"),
    [
        (["null", "string", "long"], "a union of other than null and one type"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "no type of ClickHouse for 'enum'"),
        ({"type": "long", "logicalType": "timestamp-micros"}, "timestamp-micros"),
    ],
)
def test_what_clickhouse_would_read_wrongly_is_refused(avro, reason):
    with pytest.raises(ValueError, match=reason):
        CLICKHOUSE.columns(record({"name": "a", "type": avro}))


def test_each_schema_has_a_queue_over_its_topics_a_table_and_a_view_between_them():
    text = clickhouse_tables("broker:9092", "http://registry:8081", prefix="other")
    queues = re.findall(r"CREATE TABLE IF NOT EXISTS `(\w+)_queue`", text)
    assert queues == ["ticks", "orders", "connection_events", "instruments", "candles"]
    for name in queues:
        assert f"CREATE TABLE IF NOT EXISTS `{name}` (" in text
        assert f"`{name}_from_queue` TO `{name}` AS" in text
        assert f"kafka_group_name = 'clickhouse-other-{name}'" in text
    assert "kafka_topic_list = 'other.orders'" in text
    assert "kafka_topic_list = 'other.backfill.1m'" in text
    assert "kafka_topic_list = 'other.ticks.nse,other.ticks.nfo," in text
    assert text.count("input_format_avro_allow_missing_fields = 1") == len(queues)


def test_ticks_that_come_by_inserts_have_no_queue():
    text = clickhouse_tables("b:1", "http://r:1", ticks_by_inserts=True)
    assert "ticks_queue" not in text
    assert "ticks_from_queue" not in text
    # all else is as it is
    parts = clickhouse_tables("b:1", "http://r:1").split(";\n")
    kept = [part for part in parts if "ticks_queue" not in part]
    assert len(kept) == len(parts) - 2
    assert [part.lstrip("\n") for part in text.split(";\n")[1:]] == [
        part.lstrip("\n") for part in kept[1:]
    ]
    assert "CREATE TABLE IF NOT EXISTS `ticks` (" in text


def test_settings_come_over_those_made_and_are_quoted():
    given = {"kafka_num_consumers": 4, "kafka_sasl_password": "it's \\ here"}
    text = clickhouse_tables("b:1", "http://r:1", settings=given)
    assert text.count("kafka_num_consumers = 4") == len(schemas.NAMES)
    assert r"kafka_sasl_password = 'it\'s \\ here'" in text


def ticks_of(text):
    """The columns of the queue and of the table of ticks, and of all that comes behind them."""
    queue, table = re.findall(r"`ticks(?:_queue)?` \(\n(.*?)\n\) ENGINE", text, re.DOTALL)
    return (
        re.findall(r"^  `(\w+)`", queue, re.MULTILINE),
        re.findall(r"^  `(\w+)`", table, re.MULTILINE),
    )


NEEDED = [
    "event_time", "receive_time_us", "instrument_token", "exchange", "tradingsymbol", "last_price",
    "volume_traded", "slot", "session_id", "sequence", "snapshot", "best_bid_price",
    "best_ask_price",
]  # fmt: skip


def test_columns_of_ticks_are_those_of_the_bars_and_those_that_were_chosen():
    queue, table = ticks_of(clickhouse_tables("b:1", "http://r:1", columns=[]))
    assert queue == NEEDED
    assert table == [*NEEDED, "kafka_topic", "kafka_partition", "kafka_offset", "kafka_time"]
    queue, _ = ticks_of(clickhouse_tables("b:1", "http://r:1", columns=["oi", "last_price"]))
    assert sorted(queue) == sorted([*NEEDED, "oi"])


def test_every_column_that_is_chosen_by_name_is_what_no_choice_gives():
    every = list(CLICKHOUSE.columns(schemas.load("tick")))
    assert clickhouse_tables("b:1", "http://r:1", columns=every) == clickhouse_tables(
        "b:1", "http://r:1"
    )


def test_bars_name_no_column_that_was_not_chosen():
    text = clickhouse_tables("b:1", "http://r:1", columns=[])
    view = text.partition("`bars_from_ticks`")[2].partition(";")[0]
    named = set(re.findall(r"`(\w+)`", view)) & set(CLICKHOUSE.columns(schemas.load("tick")))
    assert named <= set(NEEDED)
    assert {"best_bid_price", "best_ask_price"} <= named
    assert "`depth`" in clickhouse_tables("b:1", "http://r:1", columns=["depth"]).partition(
        "`bars_from_ticks`"
    )[2]  # fmt: skip


def test_a_column_that_ticks_have_not_is_named():
    with pytest.raises(KeyError, match="lastprice"):
        clickhouse_tables("b:1", "http://r:1", columns=["lastprice"])
