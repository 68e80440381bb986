"""The chart's alerts, tried by promtool on made-up series: what fires, and what does not.

Time begins on 1970-01-01 at 00:00 UTC, a Thursday. promtool needs as long for each minute of a
scenario, so here the market is open early: minute 15 is before anything is due, at 40 connections
are, minute 120 is within market hours, minute 200 and all of Saturday (from minute 2880) are not.
The chart's own hours are tried by one test, for themselves.
"""

import re
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml

from tests.deploy.alert_series import (
    CLOSED,
    DUE,
    LONG,
    NIGHT,
    OPEN,
    PODS,
    SATURDAY,
    at,
    constant,
    healthy,
    name_of,
    of_slot,
    rising,
    state,
    without,
)
from tests.deploy.chart import ROOT, one, render, tool

pytestmark = pytest.mark.deploy

EARLY = {"connectedFrom": "00:30", "from": "01:15", "to": "03:00"}


def rules_of(**more) -> dict:
    values = {"monitoring": {"rules": {"enabled": True, **more}}}
    return one(render(values), "PrometheusRule")["spec"]


@pytest.fixture(scope="module")
def rules() -> dict:
    return rules_of()


def promtool(rules: dict, tmp_path, tests: list[dict], every: str = "1m") -> subprocess.Popen:
    """Begin to try tests on rules; whoever waits for it sees what was said."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": every, "tests": tests}
    (folder / "tests.yaml").write_text(yaml.safe_dump(document))
    command = [tool("promtool"), "test", "rules", str(folder / "tests.yaml")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def scenario(name: str, series: dict[str, str], expected: dict[int, set[str]]) -> dict:
    """A test of promtool: these alerts fire at these minutes, and no other."""
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": s, "values": v} for s, v in series.items()],
        "promql_expr_test": [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minute}m",
                "exp_samples": [
                    {"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)
                ],
            }
            for minute, alerts in expected.items()
        ],
    }


DROPPED = "kite_connector_records_dropped_total"
REJECTED = "kite_connector_packets_rejected_total"
ACKED = "kite_connector_produce_to_ack_seconds_bucket"
REFUSED = "kite_connector_records_refused_total"
DEAD_LETTERS = "kite_connector_records_dead_lettered_total"
THROTTLED = "kite_connector_throttled_seconds_total"
LACKING = "kite_connector_backfill_instruments_lacking_total"
GAPS_WAITING = "kite_connector_backfill_gaps_waiting"
TRANSACTIONS = "kite_connector_cluster_transactions_refused_total"


def trouble(reason: str) -> str:
    """The series of a topic that takes no records."""
    return name_of(
        "kite_connector_topic_in_trouble", pod="kite-0", topic="kite.ticks.nse", reason=reason
    )


# name -> (series, {minute: alerts that fire then})
SCENARIOS: dict[str, tuple[dict[str, str], dict[int, set[str]]]] = {
    "all is well": (healthy(), {OPEN: set(), CLOSED: set()}),
    "one replica is replaced after the other": (
        healthy()
        # a pod's series end, and those of the next one begin a minute later; the slots and the
        # leadership move meanwhile
        | {
            name_of("kite_connector_ready", pod="kite-0"): f"1x110 _ 0 1x{LONG}",
            name_of("kite_connector_ready", pod="kite-1"): f"1x113 _ 0 1x{LONG}",
            name_of("process_start_time_seconds", pod="kite-0"): f"1x110 _ 2x{LONG}",
            name_of("process_start_time_seconds", pod="kite-1"): f"1x113 _ 2x{LONG}",
            name_of("kite_connector_broker_reachable", pod="kite-0"): f"1x110 _ 0 1x{LONG}",
            name_of("kite_connector_broker_reachable", pod="kite-1"): f"1x113 _ 0 1x{LONG}",
            name_of("kite_connector_cluster_slots_owned", pod="kite-0"): f"2x110 _ 0 1x{LONG}",
            name_of(
                "kite_connector_cluster_slots_owned", pod="kite-1"
            ): f"1 1x110 3 3 _ 0 2x{LONG}",
            name_of("kite_connector_cluster_leader", pod="kite-0"): f"0x110 _ 0 0 1x{LONG}",
            name_of("kite_connector_cluster_leader", pod="kite-1"): f"1x113 _ 0x{LONG}",
            name_of("kite_connector_cluster_leader_serving", pod="kite-1"): "1x113 _",
            name_of("kite_connector_cluster_leader_serving", pod="kite-0"): f"_x113 0 1x{LONG}",
        },
        {minute: set() for minute in range(109, 122)},
    ),
    "nothing is there": ({}, {2: set(), 10: {"KiteConnectorAbsent"}}),
    "a replica is not ready": (
        healthy() | {name_of("kite_connector_ready", pod="kite-1"): at(110, 1, 0)},
        {113: set(), OPEN: {"KiteConnectorNotReady"}},
    ),
    "a replica restarts": (
        healthy() | {name_of("process_start_time_seconds", pod="kite-0"): f"0x100 1 2 3 4x{LONG}"},
        {102: set(), OPEN: {"KiteConnectorRestarting"}, 140: set()},
    ),
    "too little CPU": (
        healthy()
        | {
            name_of(
                "kite_connector_event_loop_lag_seconds_bucket", pod="kite-0", le="0.005"
            ): rising(30)
        },
        {5: set(), OPEN: {"KiteConnectorEventLoopLag"}},
    ),
    "the slow codec": (
        without(healthy(), "build_info")
        | {name_of("kite_connector_build_info", pod="kite-0", codec="pure"): constant(1)},
        {5: set(), OPEN: {"KiteConnectorPureCodec"}},
    ),
    "a name that does not exist": (
        healthy() | {name_of("kite_connector_unresolved_instruments", pod="kite-0"): constant(2)},
        {5: set(), OPEN: {"KiteConnectorUnresolvedInstruments"}},
    ),
    "a replica holds the list of instruments back": (
        healthy()
        | {name_of("kite_connector_instrument_list_held_back", pod="kite-0"): at(100, 0, 1)},
        {110: set(), OPEN: {"KiteConnectorInstrumentListHeldBack"}},
    ),
    "rows of the list are damaged": (
        healthy()
        | {
            name_of("kite_connector_instrument_list_faults", pod="kite-0", kind="kept_row"): at(
                90, 0, 1
            ),
            name_of(
                "kite_connector_instrument_list_faults", pod="kite-0", kind="defaulted_cell"
            ): constant(9),
        },
        {100: set(), 115: {"KiteConnectorInstrumentRowsKept"}},
    ),
    "another program is in the group": (
        healthy()
        | {name_of("kite_connector_cluster_foreign_partitions", pod="kite-0"): at(110, 0, 1)},
        {110: set(), 115: {"KiteConnectorForeignMember"}},
    ),
    "somebody has changed a topic": (
        healthy()
        | {
            name_of("kite_connector_topics_misconfigured", pod="kite-1", kind="fault"): at(
                110, 0, 1
            ),
            name_of("kite_connector_topics_misconfigured", pod="kite-1", kind="loss"): constant(0),
        },
        {110: set(), 115: {"KiteConnectorTopicsMisconfigured"}},
    ),
    "topics differ from the settings": (
        healthy()
        | {
            name_of(
                "kite_connector_topics_misconfigured", pod="kite-1", kind="difference"
            ): constant(3)
        },
        {OPEN: set()},
    ),
    "one replica alone has no new list of instruments": (
        healthy()
        | {
            name_of(
                "kite_connector_instrument_list_confirmed_timestamp_seconds", pod="kite-0"
            ): constant(60)
        },
        {SATURDAY: set()},
    ),
    "the listed trading days end soon": (
        healthy()
        | {
            name_of(
                "kite_connector_trading_days_listed_until_timestamp_seconds", pod=pod
            ): constant(86400)
            for pod in PODS
        },
        {OPEN: {"KiteConnectorTradingDaysEnd"}},
    ),
    "no replica has a new list of instruments": (
        healthy()
        | {
            name_of(
                "kite_connector_instrument_list_confirmed_timestamp_seconds", pod=pod
            ): constant(60)
            for pod in PODS
        },
        {OPEN: set(), SATURDAY: {"KiteConnectorInstrumentListOld"}},
    ),
    # every morning: nothing is due yet, and /ready says 503
    "the token has expired": (
        without(healthy(), "kite_connector_ready")
        | state("0", "waiting_for_token")
        | state("1", "waiting_for_token")
        | {name_of("kite_connector_ready", pod="kite-0"): constant(0)}
        | {name_of("kite_connector_ready", pod="kite-1"): constant(1)},
        {
            NIGHT: set(),
            DUE: {"KiteConnectorWaitingForToken"},
            OPEN: {"KiteConnectorWaitingForToken"},
            CLOSED: set(),
            SATURDAY: set(),
        },
    ),
    # also every night that Kite works on its servers: /ready says 503 for as long as it takes
    **{
        f"a connection is down, {name}": (
            healthy()
            | state("2", name)
            | {name_of("kite_connector_ready", pod="kite-1"): constant(0)},
            {
                NIGHT: set(),
                DUE: {"KiteConnectorConnectionDown", "KiteConnectorTooFewConnections"},
                OPEN: {"KiteConnectorConnectionDown", "KiteConnectorTooFewConnections"},
                CLOSED: set(),
                SATURDAY: set(),
            },
        )
        for name in ("connecting", "backing_off", "failed")
    },
    "a connection was taken over by another replica": (
        healthy() | state("2", "connecting", pod="kite-0"),
        {OPEN: set()},
    ),
    "the slot is in use elsewhere": (
        healthy()
        | state("1", "waiting_for_slot")
        | {name_of("kite_connector_ready", pod="kite-0"): constant(0)},
        {
            NIGHT: set(),
            DUE: {"KiteConnectorSlotTakenElsewhere", "KiteConnectorTooFewConnections"},
            OPEN: {"KiteConnectorSlotTakenElsewhere", "KiteConnectorTooFewConnections"},
            CLOSED: set(),
            SATURDAY: set(),
        },
    ),
    "nobody owns a slot": (
        without(healthy(), 'slot="2"')
        | {name_of("kite_connector_cluster_slots_owned", pod="kite-1"): constant(0)},
        {
            1: set(),
            NIGHT: {"KiteConnectorSlotsWithoutOwner"},
            OPEN: {"KiteConnectorSlotsWithoutOwner", "KiteConnectorTooFewConnections"},
        },
    ),
    "a connection was stopped by command": (
        without(healthy(), 'slot="2"')
        | {
            name_of("kite_connector_cluster_slots_halted", pod=pod, halt=halt): constant(
                (pod, halt) == ("kite-1", "stopped")
            )
            for pod in PODS
            for halt in ("paused", "stopped")
        },
        {NIGHT: set(), OPEN: set()},
    ),
    "a replica alone has too few": (
        without(healthy(), "slot=", "_cluster_"),
        {NIGHT: set(), OPEN: {"KiteConnectorTooFewConnections"}},
    ),
    "nobody leads": (
        without(healthy(), "leader_serving")
        | {name_of("kite_connector_cluster_leader", pod="kite-1"): at(110, 1, 0)},
        {111: set(), 115: {"KiteConnectorNoLeader"}},
    ),
    "the leader cannot write": (
        healthy() | {name_of("kite_connector_cluster_leader_serving", pod="kite-1"): at(110, 1, 0)},
        {112: set(), 115: {"KiteConnectorLeaderNotServing"}},
    ),
    "a rule is not followed": (
        healthy()
        | {
            name_of("kite_connector_cluster_rules", pod="kite-1", state="kept"): at(90, 0, 1),
            name_of("kite_connector_cluster_rules", pod="kite-1", state="followed"): constant(3),
        },
        {100: set(), 115: {"KiteConnectorRulesKept"}},
    ),
    "all rules are followed": (
        healthy()
        | {name_of("kite_connector_cluster_rules", pod="kite-1", state="kept"): constant(0)},
        {OPEN: set()},
    ),
    "a command leads to what Kafka refuses": (
        healthy() | {name_of(TRANSACTIONS, pod="kite-1"): at(110, 1, 2)},
        {100: set(), 115: {"KiteConnectorTransactionsRefused"}, 140: set()},
    ),
    "another replica leads, and Kafka has refused nothing": (
        healthy() | {name_of(TRANSACTIONS, pod="kite-0"): f"_x110 0x{LONG}"},
        {100: set(), 115: set()},
    ),
    "the first command of a new leader leads to what Kafka refuses": (
        healthy() | {name_of(TRANSACTIONS, pod="kite-0"): f"_x110 1x{LONG}"},
        {100: set(), 115: {"KiteConnectorTransactionsRefused"}, 140: set()},
    ),
    "a cluster starts without brokers": (
        healthy()
        | {
            name_of(f"kite_connector_{metric}", pod=pod): constant(0)
            for metric in ("broker_reachable", "cluster_leader", "cluster_slots_owned")
            for pod in PODS
        },
        {OPEN: {"KiteConnectorBrokerUnreachable"}},
    ),
    "a slot is streamed twice": (
        healthy() | state("0", "connected", pod="kite-1"),
        {OPEN: {"KiteConnectorSlotDoubled"}},
    ),
    "a connection does not last": (
        healthy() | {of_slot("connects_total", "0"): rising(1)},
        {NIGHT: set(), OPEN: {"KiteConnectorReconnecting"}, SATURDAY: set()},
    ),
    "heartbeats, but no ticks": (
        healthy() | {of_slot("last_tick_timestamp_seconds", "1"): f"0+60x110 6600+0x{LONG}"},
        {111: set(), OPEN: {"KiteConnectorNoTicks"}, CLOSED: set(), SATURDAY: set()},
    ),
    "a mute or half-served connection": (
        healthy() | {of_slot("impaired", "1"): at(110, 0, 1)},
        {100: set(), 111: set(), OPEN: {"KiteConnectorConnectionImpaired"}},
    ),
    "not one tick since the start": (
        without(healthy(), of_slot("last_tick_timestamp_seconds", "1")),
        {76: set(), OPEN: {"KiteConnectorNoTicks"}, CLOSED: set(), SATURDAY: set()},
    ),
    "no ticks, and none wanted": (
        without(healthy(), 'kind="', "last_tick")
        | {of_slot("last_tick_timestamp_seconds", "1"): constant(1)}
        | {of_slot("instruments", "1", kind="desired"): constant(0)},
        {OPEN: set()},
    ),
    "a few instruments stay silent": (
        healthy() | {of_slot("instruments", "1", kind="confirmed"): constant(2860)},
        {OPEN: set()},
    ),
    "many instruments stay silent": (
        healthy() | {of_slot("instruments", "1", kind="confirmed"): constant(2840)},
        {OPEN: {"KiteConnectorUnconfirmedInstruments"}, CLOSED: set()},
    ),
    "packets that are no ticks": (
        healthy() | {name_of(REJECTED, pod="kite-0", reason="unknown_length"): at(110, 1, 5)},
        {100: set(), 115: {"KiteConnectorPacketsRejected"}, 140: set()},
    ),
    "the very first packet that is no tick": (
        healthy() | {name_of(REJECTED, pod="kite-0", reason="unknown_length"): f"_x110 1x{LONG}"},
        {100: set(), 115: {"KiteConnectorPacketsRejected"}, 140: set()},
    ),
    "no broker": (
        healthy() | {name_of("kite_connector_broker_reachable", pod="kite-0"): at(110, 1, 0)},
        {109: set(), 115: {"KiteConnectorBrokerUnreachable"}},
    ),
    "records wait on disk": (
        healthy() | {name_of("kite_connector_records_spooled", pod="kite-0"): at(110, 0, 9)},
        {112: set(), OPEN: {"KiteConnectorSpooling"}},
    ),
    "the spool fills": (
        healthy() | {name_of("kite_connector_spool_bytes", pod="kite-0"): at(110, 400, 600)},
        {109: set(), 115: {"KiteConnectorSpoolFilling"}},
    ),
    "the spool cannot be written": (
        healthy() | {name_of("kite_connector_spool_usable", pod="kite-0"): at(110, 1, 0)},
        {109: set(), 115: {"KiteConnectorSpoolUnusable"}},
    ),
    "a renewed certificate is refused": (
        healthy() | {name_of("kite_connector_kafka_files_refused", pod="kite-0"): at(100, 0, 1)},
        {109: set(), 115: {"KiteConnectorFilesRefused"}},
    ),
    "acknowledgements are slow": (
        healthy() | {name_of(ACKED, pod="kite-0", le=le): rising(3000) for le in ("0.01", "1.0")},
        {9: set(), OPEN: {"KiteConnectorSlowAcknowledgements"}},
    ),
    "records are lost": (
        healthy() | {name_of(DROPPED, pod="kite-0", reason="spool_full"): at(110, 7, 90)},
        {100: set(), 115: {"KiteConnectorRecordsDropped"}, 130: set()},
    ),
    "the very first records are lost": (
        healthy() | {name_of(DROPPED, pod="kite-0", reason="spool_full"): f"_x110 90x{LONG}"},
        {100: set(), 115: {"KiteConnectorRecordsDropped"}, 130: set()},
    ),
    "a topic accepts nothing": (
        healthy() | {trouble("topic_authorization_failed"): f"_x110 1x{LONG}"},
        {105: set(), 115: {"KiteConnectorTopicInTrouble"}},
    ),
    # a series that a scrape finds no more ends at once
    "a topic was in trouble for seconds": (
        healthy() | {trouble("unknown_topic_or_part"): "_x110 1 stale"},
        {minute: set() for minute in range(109, 120)},
    ),
    "records are refused": (
        healthy()
        | {
            name_of(
                REFUSED, pod="kite-0", topic="kite.ticks.nse", reason="invalid_record"
            ): f"_x110 20x{LONG}"
        },
        {100: set(), 115: {"KiteConnectorRecordsRefused"}, 130: set()},
    ),
    "there are dead letters": (
        healthy() | {name_of(DEAD_LETTERS, pod="kite-0"): at(110, 0, 2)},
        {100: set(), 115: {"KiteConnectorDeadLetters"}, 130: set()},
    ),
    "a quota holds a replica back": (
        healthy() | {name_of(THROTTLED, pod="kite-0"): rising(30)},
        {5: set(), OPEN: {"KiteConnectorThrottled"}},
    ),
    "the app has no right to the candles of a gap": (
        healthy() | {name_of(LACKING, pod="kite-1", reason="no_right"): at(290, 0, 3000)},
        {280: set(), 295: {"KiteConnectorGapsNotMended"}, 310: set()},
    ),
    "nothing was traded in a gap, and another one was mended after an hour": (
        healthy()
        | {name_of(LACKING, reason=r): at(290, 0, 40) for r in ("no_candles", "some_minutes")}
        | {
            name_of(GAPS_WAITING, pod="kite-1"): f"0x199 3x60 0x{LONG - 260}",
        },
        {259: set(), 295: set(), OPEN: set()},
    ),
    "gaps wait and wait, also for the next leader": (
        healthy()
        | {
            name_of(GAPS_WAITING, pod="kite-0"): f"0x199 3x60 0x{LONG - 260}",
            name_of(GAPS_WAITING, pod="kite-1"): f"0x255 3x{LONG - 256}",
        },
        {OPEN: set(), 325: {"KiteConnectorBackfillBehind"}},
    ),
    "nothing is acknowledged": (
        healthy() | {name_of("kite_connector_records_delivered_total", pod="kite-1"): constant(9)},
        {OPEN: {"KiteConnectorNothingDelivered"}},
    ),
}


def test_rules_are_well_formed(rules, tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules))
    done = subprocess.run(
        [tool("promtool"), "check", "rules", "--lint-fatal", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_documented_questions_are_promql(tmp_path):
    page = (ROOT / "docs/metrics.md").read_text().partition("## Questions and answers")[2]
    questions = re.findall(r"^\| .* \| `(.+)` \|$", page.partition("\n## ")[0], re.MULTILINE)
    assert len(questions) > 5
    records = [{"record": f"q:{n}", "expr": text} for n, text in enumerate(questions)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "questions", "rules": records}]}))
    done = subprocess.run(
        [tool("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_no_other(tmp_path):
    rules = rules_of(marketHours=EARLY)
    days, weekends = [], []
    for name, (series, expected) in SCENARIOS.items():
        today = {minute: alerts for minute, alerts in expected.items() if minute < SATURDAY}
        later = {minute: alerts for minute, alerts in expected.items() if minute >= SATURDAY}
        days += [scenario(name, series, today)] if today else []
        weekends += [scenario(name, series, later)] if later else []
    running = [
        # what holds for hours is seen as well by a few looks
        promtool(rules, tmp_path, weekends, every="15m"),
        # promtool uses one core
        *(promtool(rules, tmp_path, days[half::2]) for half in range(2)),
    ]
    # all of them end before one is judged
    said = [process.communicate()[0][-6000:] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], "\n".join(said)


def test_the_charts_own_hours_are_those_of_the_market(rules, tmp_path):
    """Connections are due from 08:30 in India, ticks from 09:15 to 15:40: 03:00 to 10:10 UTC."""
    series = without(healthy(), "last_tick") | state("0", "waiting_for_token")
    token, ticks = "KiteConnectorWaitingForToken", "KiteConnectorNoTicks"
    few = "KiteConnectorUnconfirmedInstruments"
    series |= {of_slot("instruments", "1", kind="confirmed"): constant(1500)}
    friday = 24 * 60
    expected = {
        175: set(), 190: {token}, 220: {token}, 250: {token, ticks, few},
        605: {token, ticks, few}, 615: set(),
        friday + 175: set(), friday + 190: {token}, friday + 605: {token, ticks, few},
        SATURDAY: set(),
    }  # fmt: skip
    process = promtool(rules, tmp_path, [scenario("a day", series, expected)], every="5m")
    said, _ = process.communicate()
    assert process.returncode == 0, said[-6000:]


def test_every_alert_is_tried(rules):
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tried = {
        alert for _, expected in SCENARIOS.values() for each in expected.values() for alert in each
    }
    assert alerts == tried


def test_what_an_alert_says(tmp_path):
    """One alert whole, to see that the texts are filled in."""
    series, _ = SCENARIOS["heartbeats, but no ticks"]
    test = {
        "interval": "1m",
        "input_series": [{"series": s, "values": v} for s, v in series.items()],
        "alert_rule_test": [
            {
                "alertname": "KiteConnectorNoTicks",
                "eval_time": f"{OPEN}m",
                "exp_alerts": [
                    {
                        "exp_labels": {"severity": "critical", "slot": "1", "account": "main"},
                        "exp_annotations": {
                            "summary": "Connection 1 of main brings no ticks",
                            "description": "It is open and has 3000 instruments, the market is "
                            "open, and no tick came for two minutes.",
                            "runbook_url": "docs/alerts.md#kiteconnectornoticks",
                        },
                    }
                ],
            }
        ],
    }
    process = promtool(rules_of(marketHours=EARLY), tmp_path, [test])
    said, _ = process.communicate()
    assert process.returncode == 0, said
