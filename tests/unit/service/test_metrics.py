from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from connector.service.metrics import Metrics
from connector.service.status import TopicsStatus
from tests.support.status import CLUSTER, service_status


@pytest.fixture
def families():
    page, content_type = Metrics(service_status).expose()
    assert content_type.startswith("text/plain")
    return {family.name: family for family in text_string_to_metric_families(page.decode())}


def value(families, name, **labels):
    for sample in families[name].samples:
        if all(sample.labels.get(key) == text for key, text in labels.items()):
            return sample.value
    raise AssertionError(f"no {name} with {labels}")


def test_everything_is_there(families):
    own = [name for name in families if name.startswith("kite_connector_")]
    assert len(own) >= 25
    assert value(families, "kite_connector_ready") == 1
    assert value(families, "kite_connector_build_info", codec="native", version="1.2.3") == 1
    assert value(families, "kite_connector_records_received") == 104
    assert value(families, "kite_connector_records_dropped", reason="spool_full") == 3
    assert value(families, "kite_connector_packets_rejected", reason="unknown_length") == 2
    assert value(families, "kite_connector_ticks", exchange="NSE") == 90
    assert value(families, "kite_connector_connection_packets", slot="0", account="main") == 100


def families_of(**changes):
    page, _ = Metrics(lambda: service_status(**changes)).expose()
    return {family.name: family for family in text_string_to_metric_families(page.decode())}


def cluster_families(cluster):
    page, _ = Metrics(lambda: service_status(cluster=cluster)).expose()
    families = {family.name: family for family in text_string_to_metric_families(page.decode())}
    return {name: family for name, family in families.items() if "_cluster_" in name}


def test_a_leader_of_a_cluster():
    assert {
        name.removeprefix("kite_connector_cluster_"): family.samples[0].value
        for name, family in cluster_families(CLUSTER).items()
    } == {
        "leader": 1,
        "slots_owned": 2,
        "slots_halted": 0,
        "foreign_partitions": 0,
        "rules": 1,
        "unplaced_instruments": 3,
        "revision": 7,
        "rebalances": 3,
        "leader_serving": 1,
        "commands": 9,
        "commands_rejected": 2,
        "transactions_aborted": 4,
        "transactions_refused": 3,
        "leader_fenced": 5,
    }


def test_slots_that_were_paused_or_stopped_are_counted():
    slots = {n: {"account": "main", "halt": halt} for n, halt in enumerate([None, "stopped"])}
    families = cluster_families({**CLUSTER, "slots": slots})
    assert value(families, "kite_connector_cluster_slots_halted", halt="stopped") == 1
    assert value(families, "kite_connector_cluster_slots_halted", halt="paused") == 0


def test_rules_that_are_not_followed_are_counted():
    rules = [{"problem": None}, {"problem": "no room"}, {"problem": None}]
    families = cluster_families({**CLUSTER, "rules": rules})
    assert value(families, "kite_connector_cluster_rules", state="followed") == 2
    assert value(families, "kite_connector_cluster_rules", state="kept") == 1


def test_a_leader_that_has_not_read_the_state_serves_nobody():
    families = cluster_families({**CLUSTER, "commands": {**CLUSTER["commands"], "serving": False}})
    assert value(families, "kite_connector_cluster_leader") == 1
    assert value(families, "kite_connector_cluster_leader_serving") == 0


def test_who_does_not_lead_counts_no_commands():
    families = cluster_families({**CLUSTER, "leader": False, "commands": None})
    assert value(families, "kite_connector_cluster_leader") == 0
    assert "kite_connector_cluster_commands" not in families
    assert "kite_connector_cluster_leader_serving" not in families


def test_without_a_cluster_there_is_nothing_of_it():
    assert cluster_families(None) == {}


def test_the_state_is_one_of_all(families):
    states = {
        sample.labels["state"]: sample.value
        for sample in families["kite_connector_connection_state"].samples
        if sample.labels["slot"] == "1"
    }
    assert states["waiting_for_token"] == 1
    assert sum(states.values()) == 1
    assert len(states) == 8


def test_the_calendar_says_who_trades_and_how_long_it_lasts(families):
    assert value(families, "kite_connector_market_open", exchange="NSE") == 1
    assert value(families, "kite_connector_market_open", exchange="MCX") == 0
    until = value(families, "kite_connector_trading_days_listed_until_timestamp_seconds")
    assert until == datetime(2026, 12, 31, 18, 30, tzinfo=UTC).timestamp()


def test_what_never_came_has_no_time(families):
    times = families["kite_connector_connection_last_frame_timestamp_seconds"].samples
    assert [sample.labels["slot"] for sample in times] == ["0"]


def test_peaks_and_limits(families):
    assert value(families, "kite_connector_queue_peak_records") == 70
    assert value(families, "kite_connector_spool_bytes") == 400
    assert value(families, "kite_connector_spool_peak_bytes") == 800
    assert value(families, "kite_connector_spool_limit_bytes") == 1600
    assert value(families, "kite_connector_spool_usable") == 1
    assert value(families, "kite_connector_kafka_files_refused") == 1


def test_what_kafka_refuses_is_counted_by_topic_and_reason(families):
    labels = {"topic": "kite.ticks.nse", "reason": "topic_authorization_failed"}
    assert value(families, "kite_connector_records_refused", **labels) == 6
    assert value(families, "kite_connector_topic_in_trouble", **labels) == 1
    assert value(families, "kite_connector_throttled_seconds") == 1.5


def test_each_latency_is_a_histogram(families):
    histograms = {name for name, family in families.items() if family.type == "histogram"}
    assert histograms == {
        f"kite_connector_{name}_seconds"
        for name in (
            "exchange_to_receive", "receive_to_produce", "produce_to_ack", "event_loop_lag",
        )
    }  # fmt: skip
    samples = families["kite_connector_produce_to_ack_seconds"].samples
    by_bound = {sample.labels.get("le"): sample.value for sample in samples}
    assert (by_bound["0.0025"], by_bound["0.005"]) == (0, 1)


def test_histograms_add_up(families):
    samples = families["kite_connector_receive_to_produce_seconds"].samples
    assert samples[-1].value == 100.0
    by_bound = {sample.labels.get("le"): sample.value for sample in samples}
    assert by_bound["1.0"] == 0
    assert by_bound["+Inf"] == 1


def test_names_follow_the_conventions(families):
    for name, family in families.items():
        if not name.startswith("kite_connector_"):
            continue
        assert family.documentation.endswith("."), name
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        for sample in family.samples:
            assert set(sample.labels) <= {
                "slot", "account", "exchange", "topic", "reason", "state", "kind", "le",
                "version", "codec", "name",
            }  # fmt: skip


def test_the_process_is_there_too(families):
    assert "process_resident_memory_bytes" in families


def test_openmetrics_when_asked_for():
    page, content_type = Metrics(service_status).expose(openmetrics=True)
    assert content_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


def test_what_is_wrong_with_topics_is_told_by_who_looks_at_them():
    name = "kite_connector_topics_misconfigured"
    found = families_of(topics=TopicsStatus(faults=("a",), losses=("b", "c")))
    counts = [value(found, name, kind=kind) for kind in ("fault", "loss", "difference")]
    assert counts == [1, 2, 0]
    assert name not in families_of(topics=None)
