"""Ticks out of Kafka into a file, and from either into Kafka again."""

import asyncio
import json
import os
import signal
import sys
from datetime import timedelta

import pytest
from pyarrow import parquet

from connector.cli.program import run
from connector.codec.rows.tables import value_schema
from connector.embedded.broker import EmbeddedBroker
from connector.errors import ArchiveError, MissingExtraError, SettingsError, TopicError
from connector.kafka.archive import ArchiveWriter
from connector.kafka.tail import written_records
from connector.kafka.topics import TopicNames
from connector.settings.models import KafkaSettings
from connector.testing import until
from tests.support.packets import BSE, NFO, NSE, full, ltp, quote
from tests.support.recorded import START_MS, put, recorded
from tests.support.stack import TOPICS, delivered, service, stack

COMMAND = [sys.executable, "-m", "connector"]
COPY, MOVED = TopicNames("copy"), TopicNames("moved")
PACKETS = [ltp(NSE), full(NFO), quote(BSE), full(NSE, exchange_timestamp=START_MS // 1000)] * 10
RECORDS = recorded(PACKETS, [START_MS + 250 * number for number in range(len(PACKETS))])


@pytest.fixture(scope="module")
def broker():
    topics = [topic for names in (TOPICS, COPY, MOVED) for topic in names.all_ticks().values()]
    with EmbeddedBroker(dict.fromkeys(topics, 2)) as running:
        put(running, RECORDS)
        yield running


@pytest.fixture
def program(broker, monkeypatch):
    """Runs a command in this process; returns its exit code."""
    monkeypatch.setenv("KITE_KAFKA__CLIENT", json.dumps(dict(EmbeddedBroker.client)))
    monkeypatch.setenv("KITE_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    monkeypatch.setenv("KITE_REGISTRY__URL", "mock://archive")
    return lambda *words: run([str(word) for word in words])


async def started(*words, **environment):
    return await asyncio.create_subprocess_exec(
        *map(str, words), env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ended(process):
    async with asyncio.timeout(180):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def rows(file):
    return parquet.read_table(file).to_pylist()


async def test_export_replay_export_gives_equal_rows(tmp_path):
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    async with stack() as around:
        async with service(around) as running:
            for _ in range(20):
                await around.simulator.step(5)
            await delivered(running)
        for name in COPY.all_ticks().values():
            around.broker.create_topic(name, 2)
        sessions = await around.ticks()
        brokers = ["--bootstrap", around.broker.bootstrap_servers]
        replaying = ["--registry", around.registry.url, "--into", "copy", "--speed", "max"]
        exported, replayed, again = [
            await ended(await started(*COMMAND, *words, *brokers))
            for words in (
                ["export", "-o", first],
                ["replay", first, *replaying],
                ["export", "--prefix", "copy", "-o", second],
            )
        ]
    count = sum(map(len, sessions.values()))
    assert count > 100
    said = f"{count} ticks in {first}, {first.stat().st_size:,} bytes\n"
    assert exported == (0, said, "")
    assert replayed[0] == 0
    assert replayed[1].startswith(f"{count} ticks in copy.ticks.*, up to 20")
    assert again[::2] == (0, "")
    assert len(rows(first)) == count
    assert rows(second) == rows(first)
    assert {(row["slot"], row["session_id"], row["sequence"]) for row in rows(first)} == {
        (*session, tick["sequence"]) for session, ticks in sessions.items() for tick in ticks
    }


def test_what_is_replayed_from_topics_and_moved_is_the_same_at_another_time(program, tmp_path):
    before, after = tmp_path / "before.parquet", tmp_path / "after.parquet"
    assert program("export", "-o", before) == 0
    words = ["--into", "moved", "--speed", "max", "--times", "move"]
    assert program("replay", *words) == 0
    assert program("export", "--prefix", "moved", "-o", after) == 0
    old, new = rows(before), rows(after)
    by_ms = new[0]["session_id"] - old[0]["session_id"]
    assert by_ms != 0
    for row in old:
        for name in ("event_time", "last_trade_time", "exchange_timestamp"):
            row[name] = row[name] and row[name] + timedelta(milliseconds=by_ms)
        row["receive_time_us"] += by_ms * 1000
        row["session_id"] += by_ms
    assert new == old
    assert len(new) == len(RECORDS)


def test_exchanges_topics_and_times_choose(program, tmp_path, capsys):
    file = tmp_path / "ticks.parquet"
    assert program("export", "-e", "nse", "-e", "bse", "-o", file) == 0
    assert [row["exchange"] for row in rows(file)] == ["NSE", "BSE", "NSE"] * 10
    assert program("export", "--topic", "kite.ticks.nfo", "-o", file) == 0
    assert {row["exchange"] for row in rows(file)} == {"NFO"}
    words = ["--from", "2026-01-30T09:15:02", "--to", "2026-01-30T09:15:04"]
    assert program("export", *words, "-o", file) == 0
    assert [row["sequence"] for row in rows(file)] == list(range(9, 17))
    assert program("export", "--to", "2026-01-30T09:15", "-o", file) == 0
    assert rows(file) == []
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 ticks in ")


def test_records_that_are_no_ticks_are_counted_and_left_out(program, broker, tmp_path, capsys):
    for name in TopicNames("odd").all_ticks().values():
        broker.create_topic(name, 1)
    (key, value, _) = RECORDS[0]
    put(
        broker, [(key, wrong, START_MS) for wrong in (b"{}", None, bytes(300), value)], prefix="odd"
    )
    file = tmp_path / "ticks.parquet"
    assert program("export", "--prefix", "odd", "-o", file) == 0
    assert len(rows(file)) == 1
    assert program("replay", "--prefix", "odd", "--into", "moved", "--speed", "max") == 0
    said = capsys.readouterr()
    assert said.err.count("3 records were no ticks, and are left out\n") == 2
    assert "1 ticks in moved.ticks.*, up to 2026-01-30T09:15:00.000+05:30\n" in said.out
    # these are kept at times that brokers delete
    assert "older than the 72 h of topics.tick_retention_hours" in said.err


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["export", "-e", "lse", "-o", "x"], SettingsError, "'LSE' is no exchange"),
        (["export", "--from", "noon", "-o", "x"], SettingsError, "--from: 'noon' is no time"),
        (["export", "--to", "noon", "-o", "x"], SettingsError, "--to: 'noon' is no time"),
        (["export", "--from", "1h", "--to", "2h", "-o", "x"], SettingsError, "1h is not before 2h"),
        (["export", "--prefix", "none", "-o", "x"], TopicError, "none.ticks.nse: is not there"),
        (["export", "-o", "-"], SettingsError, "--output: - is no file"),
        (["export", "-o", "no/x"], SettingsError, "no/x cannot be written: No such file"),
        (["replay", "--into", "kite"], SettingsError, "--into: kite is the prefix"),
        (["replay", "--into", "a b"], SettingsError, "'a b' is no prefix"),
        (["replay", "--topic", "copy.ticks.nse", "--into", "copy"], SettingsError,
         "copy.ticks.nse would be read and written"),
        (["replay", "--into", "copy", "--speed", "fast"], SettingsError, "'fast' is no speed"),
        (["replay", "--into", "copy", "--speed", "0"], SettingsError, "'0' is no speed"),
        (["replay", "no", "--into", "copy"], ArchiveError, "no is no file"),
        (["replay", "no", "--into", "copy", "--topic", "x"], SettingsError, "FILE is given"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_and_leaves_no_file(
    program, tmp_path, monkeypatch, words, error, text
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        program(*words)
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_the_extra_is_named(program, tmp_path, monkeypatch):
    value_schema.cache_clear()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"kite-connector\[arrow\]"):
        program("export", "-o", tmp_path / "ticks.parquet")


async def test_a_disk_that_takes_no_more_leaves_the_file_from_before(broker, tmp_path):
    file = tmp_path / "ticks.parquet"
    file.write_text("before")
    # files may have a block at most: a limit that is a full disk to whoever writes
    limited = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *COMMAND]
    words = ["export", "-o", file, "--bootstrap", broker.bootstrap_servers]
    code, out, err = await ended(await started(*limited, *words))
    assert (code, out) == (1, "")
    assert err == "kite-connector: cannot write the output: File too large\n"
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(file.name, "before")]


async def test_ctrl_c_ends_an_export_without_a_file(tmp_path):
    with EmbeddedBroker({"kite.ticks.nse": 1}) as broker:
        put(broker, RECORDS[:1])
        broker.push_errors(1, *[6] * 10_000)  # Fetch: NOT_LEADER_OR_FOLLOWER, for ever
        words = ["export", "-e", "nse", "-o", tmp_path / "ticks.parquet"]
        process = await started(*COMMAND, *words, "--bootstrap", broker.bootstrap_servers)
        await until(lambda: list(tmp_path.iterdir()), 60)
        process.send_signal(signal.SIGINT)
        code, out, err = await ended(process)
    assert (code, out, err) == (130, "", "kite-connector: ended early, and nothing is written\n")
    assert list(tmp_path.iterdir()) == []


async def test_ctrl_c_ends_a_replay_with_what_was_written(tmp_path):
    file = tmp_path / "ticks.parquet"
    with file.open("wb") as opened, ArchiveWriter(opened) as archive:
        for _, value, _ in RECORDS:
            archive.add(value)
    with EmbeddedBroker(dict.fromkeys(COPY.all_ticks().values(), 1)) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
        process = await started(
            *COMMAND, "replay", file, "--into", "copy", "--speed", "0.001",
            "--bootstrap", broker.bootstrap_servers, "--registry", "mock://archive",
        )  # fmt: skip
        async with asyncio.timeout(180):
            while not (await written_records(kafka, ["copy.ticks.nse"]))["copy.ticks.nse"]:
                pass
        process.send_signal(signal.SIGINT)
        code, out, err = await ended(process)
    assert (code, out) == (130, "1 ticks in copy.ticks.*, up to 2026-01-30T09:15:00.000+05:30\n")
    assert "Traceback" not in err
