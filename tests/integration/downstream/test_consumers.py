"""The plain consumers, in Python and in Java, over ticks in two versions of the schema."""

import json
import re
from collections import Counter
from datetime import datetime

import pytest

from connector.cli.downstream import topic_pattern
from tests.integration.downstream.engines import documented, typed, user_folder

pytestmark = [pytest.mark.integration, pytest.mark.downstream]


@pytest.fixture
def downstream(new_downstream):
    made = new_downstream()
    first_day, second_day = made.days()
    made.write(first_day)
    made.write_no_ticks()
    made.evolve()
    made.write(made.half_in_newer_schema(second_day))
    return made


def identity(tick: dict) -> tuple[int, int, int]:
    return tick["slot"], tick["session_id"], tick["sequence"]


def gaps_of(ticks: list[dict]) -> set[tuple[int, int, int, int]]:
    """Missing numbers up to the last that came, of each session."""
    seen: dict[tuple[int, int], set[int]] = {}
    for tick in ticks:
        seen.setdefault((tick["slot"], tick["session_id"]), {0}).add(tick["sequence"])
    return {
        (*session, before + 1, after - 1)
        for session, numbers in seen.items()
        for before, after in zip(sorted(numbers), sorted(numbers)[1:], strict=False)
        if after > before + 1
    }


def test_python_consumer_gives_each_tick_once_and_names_the_gaps(downstream, tmp_path):
    (line,) = documented("docs/downstream.md", "## Python")
    line += (
        f" --bootstrap-servers {downstream.bootstrap_servers}"
        f" --registry-url {downstream.registry_url}"
        f" --topic-pattern '{topic_pattern('tick', downstream.prefix)}'"
        f" --group {downstream.prefix} --until-end 2>told"
    )
    folder = user_folder(tmp_path)
    printed = typed(folder, [line])
    written = downstream.ticks
    received = [json.loads(line) for line in printed.splitlines()]
    assert Counter(map(identity, received)) == Counter({identity(tick) for tick in written})
    by_identity = {identity(tick): tick for tick in written}
    for tick in received:
        want = by_identity[identity(tick)]
        times = ("event_time", "exchange_timestamp", "last_trade_time")
        told = {name: tick[name] and datetime.fromisoformat(tick[name]) for name in times}
        assert {**tick, **told} == want

    errors = (folder / "told").read_text()
    told = re.findall(r"^gap: slot (\d+) session (\d+) (\d+)-(\d+)$", errors, re.MULTILINE)
    gaps = gaps_of(written)
    assert len(gaps) > 10
    assert {tuple(map(int, gap)) for gap in told} == gaps
    repeats = len(written) - len(by_identity)
    assert repeats > 100
    assert f"{len(by_identity)} ticks, {repeats} repeats, " in errors
    assert errors.count("passed over: ") == downstream.no_ticks


def test_java_consumer_decodes_both_versions_of_the_schema(downstream, tmp_path):
    build, consume = documented("docs/downstream.md", "## Java")
    theirs = "localhost:9094 http://localhost:8081/apis/ccompat/v7 'kite\\.ticks\\..*'"
    assert consume.endswith(theirs)
    consume = consume.replace(
        theirs,
        f"{downstream.bootstrap_servers} {downstream.registry_url} "
        f"'{topic_pattern('tick', downstream.prefix)}' until-end",
    )
    printed = typed(user_folder(tmp_path), [build, consume])
    received = Counter(_told(json.loads(line)) for line in printed.splitlines())
    assert received == Counter(_told(tick) for tick in downstream.ticks)


def _told(tick: dict) -> str:
    """A tick as text that compares, its times in milliseconds."""
    return json.dumps(tick, sort_keys=True, default=lambda time: round(time.timestamp() * 1000))
