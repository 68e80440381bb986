from typer.testing import CliRunner

from connector.cli import app

WHERE = ["-b", "kafka.example:9093", "-r", "https://registry.example", "--prefix", "market"]


def output(*arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_flink_tables_are_for_the_addresses_given():
    text = output("schemas", "flink", *WHERE)
    assert "kafka.example:9093" in text
    assert "https://registry.example" in text
    assert r"market\.ticks\." in text


def test_the_spark_reader_is_python_for_the_addresses_given():
    text = output("schemas", "spark", *WHERE)
    compile(text, "ticks.py", "exec")
    assert "kafka.example:9093" in text
    assert "market" in text


def test_list_names_schema_topic_and_subject():
    lines = output("schemas", "list", "--prefix", "market").splitlines()
    assert ["tick", "market.ticks.nse", "market.ticks.nse-value"] in [
        line.split() for line in lines
    ]


def test_print_is_the_shipped_text():
    assert '"name": "Tick"' in output("schemas", "print", "tick")


def test_a_schema_that_is_not_there_is_named():
    result = CliRunner().invoke(app, ["schemas", "print", "trade"])
    assert "there are tick" in str(result.exception)


def test_clickhouse_tables_may_leave_the_reading_of_ticks_to_another_program():
    text = output("schemas", "clickhouse", *WHERE, "--ticks-by-inserts")
    assert "`ticks`" in text
    assert "`ticks_queue`" not in text
    assert "`orders_queue`" in text


def test_clickhouse_tables_may_have_fewer_columns_of_ticks():
    text = output("schemas", "clickhouse", *WHERE, "--columns", "oi, average_traded_price, ")
    assert "market.ticks.nse" in text
    assert "`average_traded_price` Nullable(Float64)" in text
    assert "`depth`" not in text
    result = CliRunner().invoke(app, ["schemas", "clickhouse", *WHERE, "--columns", "oi,price"])
    assert "ticks have no column 'price'" in str(result.exception)
