"""The versions that docs/downstream.md names for a reader are those that its example is pinned to.

Looked at are the table of all readers and the paragraph that each reader's section begins with.
Readers without an example here (kafkajs, say) were tried by hand, and pin nothing.
"""

import re

import pytest

from tests.support.documented import ROOT

PAGE = (ROOT / "docs/downstream.md").read_text("utf-8")
TABLE = PAGE.partition("\n## Every reader\n")[2].partition("\n## ")[0]
READERS = {row.split("|")[1].strip() for row in TABLE.splitlines() if row.startswith("| ")}
SECTIONS = re.split(r"^## .*\n\n", PAGE, flags=re.MULTILINE)[1:]
NAMED = "\n".join([*READERS, *(section.partition("\n\n")[0] for section in SECTIONS)])

POM = "examples/{}/pom.xml"
CARGO = "examples/consumers/rust/Cargo.toml"
GO = "examples/consumers/go/go.mod"
FRAMES = "requirements/frames.txt"
# as the page calls it: as the file calls it, and the file
PINS = {
    "Flink": ("flink.version", POM.format("flink")),
    "connector": ("flink.kafka.version", POM.format("flink")),
    "Spark": ("spark.version", POM.format("spark")),
    "pyspark": ("pyspark", "requirements/spark.txt"),
    "confluent-kafka": ("confluent-kafka", "requirements/dev.txt"),
    "kafka-clients": ("kafka-clients", POM.format("consumers/java")),
    "Avro": ("avro", POM.format("consumers/java")),
    "Kafka Streams": ("kafka-streams", POM.format("kafka-streams")),
    "franz-go": ("twmb/franz-go", GO),
    "hamba/avro": ("hamba/avro/v2", GO),
    "rdkafka": ("rdkafka", CARGO),
    "schema_registry_converter": ("schema_registry_converter", CARGO),
    "apache-avro": ("apache-avro", CARGO),
    "@platformatic/kafka": ("@platformatic/kafka", "examples/consumers/node/package.json"),
    "avsc": ("avsc", "examples/consumers/node/package.json"),
    "quixstreams": ("quixstreams", FRAMES),
    "Polars": ("polars", FRAMES),
    "pandas": ("pandas", FRAMES),
    "DuckDB": ("duckdb", FRAMES),
    "Kafka Connect": ("kafka.version", POM.format("iceberg")),
    "Iceberg": ("iceberg.version", POM.format("iceberg")),
    "pyiceberg": ("pyiceberg", "requirements/iceberg.txt"),
}


def pinned(name: str, file: str) -> str:
    text = (ROOT / file).read_text("utf-8")
    # not behind a longer name; in a pom the version stands on the next line
    found = re.search(
        rf"(?<![\w-]){re.escape(name)}(?![\w-])[^\d\n]*\n?[^\d\n]*(\d[\w.-]*\w)", text
    )
    assert found, f"{file} pins no {name}"
    return found[1]


@pytest.mark.parametrize("name", PINS)
def test_a_named_version_is_the_pinned_one(name):
    wanted = pinned(*PINS[name])
    told = re.findall(rf"(?<![\w-]){re.escape(name)} (\d[\d.]*\d(?:-[\d.]*\d)?)", NAMED)
    assert told, f"the page names no version of {name}"
    for version in told:
        assert f"{wanted}.".startswith(f"{version}."), f"{name} is pinned to {wanted}"
