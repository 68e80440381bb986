"""Made-up series of two replicas for promtool, and when they are looked at, in minutes."""

NIGHT, DUE, OPEN, CLOSED, SATURDAY = 15, 40, 120, 200, 2880 + 120
LONG = 3100
"""Minutes that the series go on."""
STATES = ["idle", "connecting", "connected", "backing_off"]
STATES += ["waiting_for_token", "waiting_for_slot", "failed", "closed"]
OWNERS = {"0": "kite-0", "1": "kite-0", "2": "kite-1"}
PODS = ["kite-0", "kite-1"]


def name_of(metric: str, **labels: str) -> str:
    labels = {"namespace": "market", "job": "kite-kite-connector", **labels}
    return metric + "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}"


def constant(value: float) -> str:
    return f"{int(value)}+0x{LONG}"


def rising(step: float, start: float = 0) -> str:
    return f"{start}+{step}x{LONG}"


def state(slot: str, name: str, pod: str = "") -> dict[str, str]:
    """One connection in one state."""
    labels = {"slot": slot, "account": "main", "pod": pod or OWNERS[slot]}
    return {
        name_of("kite_connector_connection_state", **labels, state=each): constant(each == name)
        for each in STATES
    }


def of_slot(metric: str, slot: str, **more: str) -> str:
    return name_of(
        f"kite_connector_connection_{metric}",
        **{"slot": slot, "account": "main", "pod": OWNERS[slot], **more},
    )


def healthy() -> dict[str, str]:
    """Two replicas, three connections, all well: series by name."""
    series = {}
    for pod in PODS:
        for metric, values in {
            "kite_connector_ready": constant(1),
            "process_start_time_seconds": constant(1),
            "kite_connector_unresolved_instruments": constant(0),
            "kite_connector_instrument_list_held_back": constant(0),
            "kite_connector_instrument_list_confirmed_timestamp_seconds": rising(60),
            "kite_connector_broker_reachable": constant(1),
            "kite_connector_records_spooled": constant(0),
            "kite_connector_records_received_total": rising(6000),
            "kite_connector_records_delivered_total": rising(6000),
            "kite_connector_records_dead_lettered_total": constant(0),
            "kite_connector_throttled_seconds_total": constant(0),
            "kite_connector_spool_bytes": constant(0),
            "kite_connector_spool_limit_bytes": constant(1000),
            "kite_connector_spool_usable": constant(1),
            "kite_connector_kafka_files_refused": constant(0),
            "kite_connector_cluster_leader": constant(pod == "kite-1"),
            "kite_connector_cluster_slots_owned": constant(list(OWNERS.values()).count(pod)),
        }.items():
            series[name_of(metric, pod=pod)] = values
        series[name_of("kite_connector_build_info", pod=pod, codec="native")] = constant(1)
        lag = "kite_connector_event_loop_lag_seconds_bucket"
        acknowledged = "kite_connector_produce_to_ack_seconds_bucket"
        for le in ("0.005", "0.25", "+Inf"):
            series[name_of(lag, pod=pod, le=le)] = rising(60)
        for le in ("0.01", "1.0", "2.5", "+Inf"):
            series[name_of(acknowledged, pod=pod, le=le)] = rising(6000)
    series[name_of("kite_connector_cluster_leader_serving", pod="kite-1")] = constant(1)
    for slot in OWNERS:
        series |= state(slot, "connected")
        series[of_slot("connects_total", slot)] = constant(1)
        series[of_slot("last_tick_timestamp_seconds", slot)] = rising(60)
        for kind in ("desired", "confirmed"):
            series[of_slot("instruments", slot, kind=kind)] = constant(3000)
    return series


def without(series: dict[str, str], *words: str) -> dict[str, str]:
    return {name: values for name, values in series.items() if not any(w in name for w in words)}


def at(minute: int, before: float, after: float) -> str:
    """Values that change once; a step at the minute."""
    return f"{before}+0x{minute - 1} {after}+0x{LONG - minute}"
