"""Reads ticks with quixstreams, each as a line of JSON.

    pip install 'quixstreams[avro,schema_registry]'
    python ticks.py

Times are datetimes, which the library's state and group_by cannot keep ("Type is not JSON
serializable"): they are turned into milliseconds first. Its windows go by Kafka's timestamp, which
is the receive time; for the event time give `topic` a timestamp_extractor that returns an int.
"""

import argparse
import json
import sys
from datetime import datetime
from typing import Any

from confluent_kafka.schema_registry.error import SchemaRegistryError
from quixstreams import Application, message_context
from quixstreams.models.serializers.avro import AvroDeserializer
from quixstreams.models.serializers.exceptions import SerializationError
from quixstreams.models.serializers.schema_registry import SchemaRegistryClientConfig

SCHEMA_NOT_FOUND = 40403  # the registry's own code
# what the library and fastavro raise of a value's bytes
NO_TICK = (SerializationError, EOFError, IndexError, ValueError)
EXCHANGES = ("nse", "nfo", "cds", "bse", "bfo", "bcd", "mcx", "mcxsx", "indices", "nco")


def milliseconds(value: object) -> object:
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value


def passed_over(error: Exception, message: Any, _logger: object) -> bool:
    """Say which record is no tick, and go on: whoever may write can put one there."""
    cause = error.__cause__
    unanswered = isinstance(cause, SchemaRegistryError) and cause.error_code != SCHEMA_NOT_FOUND
    # an answer of the registry that is no JSON is no fault of the value either
    if unanswered or isinstance(error, json.JSONDecodeError) or not isinstance(error, NO_TICK):
        return False
    place = f"{message.topic()} {message.partition()} {message.offset()}"
    print(f"passed over: {place}: {error!r}", file=sys.stderr)
    return True


def is_tick(value: dict) -> bool:
    """Whether it is one: a record of another schema differs by the names of its fields alone."""
    if value.keys() >= {"instrument_token", "last_price", "sequence"}:
        return True
    at = message_context()
    print(f"passed over: {at.topic} {at.partition} {at.offset}: no tick", file=sys.stderr)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bootstrap-servers", default="localhost:9094")
    parser.add_argument("--registry-url", default="http://localhost:8081/apis/ccompat/v7")
    parser.add_argument("--prefix", default="kite")
    parser.add_argument("--group", default="kite-example-quixstreams")
    parser.add_argument(
        "--idle-seconds", type=float, default=0, help="stop when nothing came for so long"
    )
    arguments = parser.parse_args()
    application = Application(
        broker_address=arguments.bootstrap_servers,
        consumer_group=arguments.group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        on_consumer_error=passed_over,
    )
    registry = SchemaRegistryClientConfig(url=arguments.registry_url)
    deserializer = AvroDeserializer(schema_registry_client_config=registry)
    for exchange in EXCHANGES:
        topic = application.topic(
            f"{arguments.prefix}.ticks.{exchange}",
            key_deserializer="str",
            value_deserializer=deserializer,
        )
        ticks = application.dataframe(topic).filter(is_tick)
        ticks = ticks.apply(lambda tick: {name: milliseconds(tick[name]) for name in tick})
        ticks.update(lambda tick: print(json.dumps(tick)))
    application.run(timeout=arguments.idle_seconds)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
