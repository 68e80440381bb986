import re
from pathlib import Path

from connector.kafka.rights import rights, rights_of

PAGE = Path(__file__).parents[3] / "docs/security.md"


def as_rows(table):
    return [
        f"| {right.principal} | {right.resource} | `{right.name}`{'*' * right.prefixed} | "
        f"{', '.join(right.operations)} |"
        for right in table
    ]


def test_the_page_shows_the_table():
    shown = PAGE.read_text().partition("<!-- acls: begin -->\n")[2].partition("<!-- acls: end")[0]
    head = ["| principal | resource | name | operations |", "|---|---|---|---|"]
    assert shown.splitlines() == [*head, *as_rows(rights("kite-connector", "kite"))]


def test_what_the_newest_ticks_need_is_what_the_page_says_beside_its_table():
    more = set(rights("n", "kite", latest=True)) - set(rights("n", "kite"))
    assert sorted(as_rows(more)) == [
        "| connector | topic | `kite.latest` | Write, DescribeConfigs |",
        "| consumer | topic | `kite.latest` | Read |",
    ]
    text = " ".join(PAGE.read_text().split())
    assert "With `topics.latest` the connector needs Write and DescribeConfigs on `kite.lat" in text


def test_what_candles_of_gaps_need_is_what_the_page_says_beside_its_table():
    more = set(rights("n", "kite", backfill=True)) - set(rights("n", "kite"))
    assert sorted(as_rows(more)) == [
        "| connector | topic | `kite.backfill.1m` | Read, Write, DescribeConfigs |",
        "| connector | topic | `kite.events` | Read, Write, DescribeConfigs |",
        "| consumer | topic | `kite.backfill.1m` | Read |",
    ]
    text = " ".join(PAGE.read_text().split())
    assert (
        "With `topics.backfill` the connector needs Read, Write and DescribeConfigs on "
        "`kite.backfill.1m` and Read on `kite.events` as well"
    ) in text


def test_name_and_prefix_stand_where_the_defaults_do():
    default = as_rows(rights("kite-connector", "kite", latest=True, backfill=True))
    other = as_rows(rights("ANY", "market", latest=True, backfill=True))
    assert [
        re.sub(r"`kite\b(?!-)", "`market", row).replace("kite-connector:kite", "ANY:market")
        for row in default
    ] == other


def test_principals_are_asked_for_together():
    table = tuple(rights("n", "kite"))
    found = rights_of(table, "connector", "creator")
    assert {right.principal for right in found} == {"connector", "creator"}
    assert len(found) + len(rights_of(table, "operator", "consumer")) == len(table)
