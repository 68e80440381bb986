"""How slots are, out of what their owners have written into Kafka."""

import asyncio
import io

import pytest
from rich.console import Console

from connector.cli import top_kafka
from connector.cli.top_kafka import line_of, rows_of, view_of
from connector.cluster.view import Seen
from connector.control.records import Halt, Halted
from connector.errors import SettingsError
from connector.settings.models import Settings
from connector.testing import FakeClock

NOW_US = 1_767_585_600_000_000
ESCAPE = "\x1b[2J"


def note(age_seconds=0.5, **changes):
    return {
        "owner": "pod-1", "state": "connected", "desired": 2, "confirmed": 2, "rate": 7,
        "trouble": "", "last_frame_us": NOW_US - int(age_seconds * 1e6), **changes,
    }  # fmt: skip


SEEN = Seen(
    loaded=True,
    slots={
        0: note(),
        1: note(owner="pod-2", state="backing_off", rate=0, trouble="HTTP 503"),
        2: note(90.0, owner="pod-3"),
        4: note(),
    },
    carried={0: 3, 3: 5, 5: 0},
    halts={4: Halted(Halt.PAUSED, "asha", 1)},
    events=[{"time_ms": NOW_US // 1000, "type": "gap", "slot": 1, "reason": "", "account": "main"}],
)


def shown(seen, width=140):
    out = io.StringIO()
    view = view_of("kite-connector", rows_of(seen, FakeClock(NOW_US)), seen)
    Console(file=out, width=width, height=40, force_terminal=False).print(view)
    return out.getvalue()


def test_a_slot_is_as_its_owner_wrote_it_and_what_it_carries_as_the_topic_has_it():
    (row, *_) = rows_of(SEEN, FakeClock(NOW_US))
    assert (row.slot, row.owner, row.state, row.streams) == (0, "pod-1", "connected", True)
    assert (row.desired, row.confirmed, row.ticks_per_second) == (3, 2, 7)
    assert row.age_seconds == 0.5


def test_what_is_wrong_is_said_of_each_slot():
    wrong = {row.slot: row.wrong for row in rows_of(SEEN, FakeClock(NOW_US))}
    assert wrong == {
        0: "",
        1: "HTTP 503",
        2: "no frame for 90 s: is its owner alive?",
        3: "nobody has told of it: no owner?",
        4: "by asha, until the command resume",
    }


def test_a_line_counts_what_streams_by_what_was_told_of_late():
    assert line_of(rows_of(SEEN, FakeClock(NOW_US)), SEEN) == (
        "1 of 5 slots stream, of 1 replica, 14 instruments, 7 ticks/s"
    )
    silent = Seen(problems={"kafka": "no broker answers"})
    assert line_of([], silent) == "no slot is known; kafka: no broker answers"


def test_a_terminal_has_a_row_a_slot_and_the_newest_events():
    text = shown(SEEN)
    assert [line.split()[0] for line in text.splitlines()[2:7]] == ["0", "1", "2", "3", "4"]
    assert "backing off" in text
    assert "09:30:00  slot 1  gap" in text


def test_tries_that_failed_alike_are_told_with_their_number():
    row = {"time_ms": NOW_US // 1000, "slot": 1, "type": "backing_off", "reason": "refused"}
    seen = Seen(events=[{**row, "account": "main", "times": 400}])
    assert "slot 1  backing off  refused  400 times" in shown(seen)


def test_words_of_others_do_not_steer_the_terminal():
    seen = Seen(
        slots={0: note(owner=ESCAPE, state=ESCAPE, trouble=ESCAPE)},
        problems={ESCAPE: "not authorized"},
        events=[{"time_ms": 1, "type": ESCAPE, "slot": 0, "reason": "", "account": ""}],
        halts={1: Halted(Halt.STOPPED, ESCAPE, 1)},
    )
    assert "\x1b" not in shown(seen) + line_of(rows_of(seen, FakeClock(NOW_US)), seen)


async def test_without_a_cluster_kafka_tells_nothing():
    settings = Settings.model_validate(
        {"accounts": [{"api_key": "k"}], "cluster": {"enabled": False}}
    )
    with pytest.raises(SettingsError, match=r"cluster\.enabled: without a cluster"):
        await top_kafka.watch(settings, 1.0, 1, asyncio.Event())
