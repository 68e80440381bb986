"""Kafka Streams over the tape: the bars of every other engine."""

import json

import pytest

from connector.cli.downstream import topic_pattern
from tests.integration.downstream.bars import Bar
from tests.integration.downstream.checksum import agreed
from tests.integration.downstream.engines import documented, typed, user_folder

pytestmark = [pytest.mark.integration, pytest.mark.downstream]

THEIRS = "localhost:9094 http://localhost:8081/apis/ccompat/v7 'kite\\.ticks\\..*' kite.bars.1m"
IDLE_SECONDS = 15


def run(folder, downstream, topic):
    """What the page tells to type, over these addresses and topics, until nothing more comes."""
    build, *start = documented("docs/downstream.md", "## Kafka Streams")
    assert start[-1].endswith(THEIRS)
    ours = (
        f"{downstream.bootstrap_servers} {downstream.registry_url} "
        f"'{topic_pattern('tick', downstream.prefix)}' {topic} {downstream.prefix} {IDLE_SECONDS}"
    )
    # with the state in a folder of the test's
    lines = [line.replace("java -cp", f"java -Djava.io.tmpdir={folder} -cp") for line in start]
    typed(folder, [build, *lines[:-1], lines[-1].replace(THEIRS, ours)])


def test_bars_are_those_of_every_reader_also_when_it_goes_on_with_a_second_day(
    new_downstream, tmp_path
):
    downstream = new_downstream()
    topic = f"{downstream.prefix}.bars"
    downstream.create_topics(topic)
    folder = user_folder(tmp_path)
    for day in downstream.days():
        downstream.write_no_ticks()
        downstream.write(day)
        run(folder, downstream, topic)
    last = {key: json.loads(value) for key, value in downstream.read(topic)}
    made = [
        Bar(start=row["bar_start"], **{name: row[name] for name in Bar._fields if name != "start"})
        for row in last.values()
    ]
    assert [list(bar) for bar in sorted(made)] == agreed()["bars"]
    assert all(set(row) == {*Bar._fields} - {"start"} | {"bar_start"} for row in last.values())
