"""The tables of docs/topics.md are those of the code and of the schemas.

Written anew with `python -m tests.contracts.test_topics_reference`.
"""

import re
from pathlib import Path

import pytest

from connector import schemas
from connector.kafka.topics import TopicNames, topic_specs
from connector.settings.models import TopicSettings

PAGE = Path(__file__).parents[2] / "docs/topics.md"
AGAIN = "write it anew with `python -m tests.contracts.test_topics_reference`"
MARKED = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
LOGICAL = {"timestamp-millis": "timestamp, ms"}


def topics_table() -> str:
    names = TopicNames()
    ticks = set(names.all_ticks().values())
    rows = ["| topic | partitions | kept |", "|---|---|---|"]
    for spec in topic_specs(TopicSettings(), slots=3):
        if spec.name in ticks:
            if spec.name != names.ticks(next(iter(names.all_ticks()))):
                continue
            name = "kite.ticks.*"
        else:
            name = spec.name
        # there are as many as the accounts allow, and three is only what one of them has
        partitions = "one a slot" if name == names.subscriptions else str(spec.partitions)
        if spec.compacted:
            kept = "compacted"
        else:
            kept = f"{int(spec.config['retention.ms']) / 86_400_000:g} days"
        rows.append(f"| `{name}` | {partitions} | {kept} |")
    return "\n".join(rows) + "\n"


def type_of(avro) -> str:
    if isinstance(avro, list):
        return f"{type_of(next(member for member in avro if member != 'null'))}, nullable"
    if isinstance(avro, str):
        return {"DepthItem": "the same"}.get(avro, avro)
    if "logicalType" in avro:
        return LOGICAL[avro["logicalType"]]
    if avro["type"] == "array":
        return f"array of {type_of(avro['items'])}"
    if avro["type"] == "record":
        inside = ", ".join(
            f"`{field['name']}` {type_of(field['type'])}" for field in avro["fields"]
        )
        return f"{{{inside}}}"
    return type_of(avro["type"])


def fields_table(name: str) -> str:
    rows = [
        f"| `{field['name']}` | {type_of(field['type'])} | {field['doc']} |"
        for field in schemas.load(name)["fields"]
    ]
    return "\n".join(["| field | type | |", "|---|---|---|", *rows]) + "\n"


def table(name: str) -> str:
    return topics_table() if name == "topics" else fields_table(name)


def test_the_page_has_every_table():
    assert {found[2] for found in MARKED.finditer(PAGE.read_text("utf-8"))} == {
        "topics",
        *schemas.NAMES,
    }


@pytest.mark.parametrize("name", ["topics", *schemas.NAMES])
def test_table_is_current(name):
    tables = {found[2]: found[3] for found in MARKED.finditer(PAGE.read_text("utf-8"))}
    assert tables[name] == table(name), AGAIN


if __name__ == "__main__":
    page = PAGE.read_text("utf-8")
    PAGE.write_text(MARKED.sub(lambda found: found[1] + table(found[2]) + found[4], page), "utf-8")
