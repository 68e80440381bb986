"""The chart on a running cluster, through what a platform team does to it and what befalls it.

The tests are one walk: each begins with the release that the one before has left, two replicas that
share the slots. A consumer reads along and judges every case by slot, session and sequence.
"""

import time

import pytest

from tests.deploy.docker import ROOT
from tests.k8s.cluster import IMAGE_BEFORE, CommandError, OwnCluster
from tests.k8s.release import CHART, COMPONENT, NAME, ROWS, SLOTS, wait_for

pytestmark = pytest.mark.k8s

FIRST, SECOND, THIRD = (f"{NAME}-{number}" for number in range(3))
AWAY_SECONDS = 20
REFUSED_SECONDS = 12


def test_without_the_days_token_the_replicas_are_alive_and_say_what_they_wait_for(kite):
    """They take it from the Secret once it is there; nothing restarts."""
    kite.secret("kite-app", "api_key", "simulated_key")
    kite.secret("kite-revoked", "list", "of the first day")
    kite.install()
    wait_for("all wait for the token", lambda: waits_for_token(kite))
    kite.secret("kite-token", "access_token", "simulated_token")
    kite.renew_mounts()
    wait_for("they share the slots", kite.settled)
    kite.read_up_to_now()
    assert kite.restarts() == [0, 0]


def waits_for_token(kite):
    names = [pod["metadata"]["name"] for pod in kite.pods()]
    pages = [page for name in names if (page := kite.page(name, "status"))]
    states = [c["state"] for page in pages for c in page["connections"]]
    return len(pages) == 2 and len(states) == 3 and set(states) == {"waiting_for_token"}


def test_helm_test_finds_it_ready(kite):
    kite.test()


def test_the_namespace_takes_nothing_that_is_less_confined(kite):
    with pytest.raises(CommandError, match="violates PodSecurity"):
        kite.kubectl("run", "bad", "--image=kite-connector:test", "--restart=Never")


def test_a_changed_value_rolls_the_replicas(kite):
    with kite.case("rolling upgrade by a changed setting"):
        kite.upgrade(settings={"logging": {"level": "debug"}})
    assert kite.restarts() == [0, 0]


def test_a_deleted_replica_hands_its_slots_over(kite):
    with kite.case("graceful delete of a pod (`kubectl delete pod`)"):
        kite.kubectl("delete", "pod", FIRST, "--wait")


def test_a_killed_process_comes_back(kite):
    with kite.case(
        "kill -9 of a container's process", settled=lambda: restarted(kite, SECOND), killed=True
    ):
        kite.kill(SECOND)


def restarted(kite, pod):
    statuses = kite.get("pod", pod)["status"]["containerStatuses"]
    return statuses[0]["restartCount"] > 0 and kite.settled()


def test_a_replica_that_runs_out_of_memory_comes_back(kite):
    with kite.case("OOM kill", settled=lambda: restarted(kite, FIRST), killed=True):
        kite.exhaust(FIRST)
    (container,) = kite.get("pod", FIRST)["status"]["containerStatuses"]
    assert container["lastState"]["terminated"]["reason"] == "OOMKilled"


def test_a_wrong_setting_stops_the_rollout_and_a_mended_one_rolls_by_itself(kite):
    """The first replica that gets it is not ready; the other one has every slot."""
    brokers = kite.values["settings"]["kafka"]["bootstrap_servers"]
    with kite.case("wrong setting, rollout stopped", settled=lambda: kite.settled(1, pods=2)):
        kite.upgrade(wait=False, settings={"kafka": {"bootstrap_servers": "nowhere:9092"}})
        wait_for("it says what is wrong", lambda: says(kite, SECOND, "nowhere"))
    assert kite.owners() == dict.fromkeys(SLOTS, FIRST)
    with kite.case("… mended, rolled by itself"):
        kite.upgrade(settings={"kafka": {"bootstrap_servers": brokers}})


def says(kite, pod, words):
    page = kite.page(pod, "status")
    return page is not None and any(words in reason for reason in page["not_ready"])


def test_the_number_of_replicas_is_that_of_the_values(kite):
    with kite.case("scaled 2 → 1 (`helm upgrade`)", settled=lambda: kite.settled(1)):
        kite.upgrade(replicas=1)
    with kite.case("scaled 1 → 3", settled=lambda: kite.settled(3)):
        kite.upgrade(replicas=3)
    with kite.case("scaled 3 → 2"):
        kite.upgrade(replicas=2)


def test_a_number_that_kubectl_has_set_is_kept_where_the_values_name_none(kite):
    """And is in the way of an upgrade that names another: Helm says who set it."""
    with kite.case("`kubectl scale` 2 → 3", settled=lambda: kite.settled(3)):
        kite.kubectl("scale", f"statefulset/{NAME}", "--replicas=3")
    with pytest.raises(CommandError, match=r"spec\.replicas"):
        kite.upgrade(wait=False, podAnnotations={"upgraded": "1"})
    with kite.case("upgrade with `replicas: null`", settled=lambda: kite.settled(3)):
        kite.upgrade(replicas=None)
    with kite.case("`kubectl scale` 3 → 2"):
        kite.kubectl("scale", f"statefulset/{NAME}", "--replicas=2")


def test_the_commit_before_is_upgraded_and_can_be_gone_back_to(kite, tmp_path):
    """Both run beside each other for a moment, in one group over the same topics."""
    if not isinstance(kite.cluster, OwnCluster):
        pytest.skip("its image is not where the cluster of KUBECONFIG pulls from")
    tree = kite.cluster.commit_before(tmp_path)
    _, before = IMAGE_BEFORE.split(":")
    now = kite.values["image"]["tag"]
    with kite.case("back to the commit before"):
        kite.upgrade(chart=tree / CHART.relative_to(ROOT), image={"tag": before})
    with kite.case("upgrade from the commit before"):
        kite.upgrade(image={"tag": now})


def test_a_new_token_is_taken_without_a_restart(kite):
    before = kite.restarts()
    with kite.case("token ended by Kite, then renewed in its Secret"):
        kite.tell_feed("PUT", "token", {"access_token": "of-today"})
        kite.tell_feed("POST", "faults", {"kind": "abort"})
        wait_for("all wait for the token", lambda: waits_for_token(kite))
        kite.secret("kite-token", "access_token", "of-today")
        kite.renew_mounts()
    assert kite.restarts() == before


def test_renewed_files_of_certificates_are_taken_and_no_socket_closes(kite):
    before = kite.restarts()
    with kite.case("files of certificates renewed in their Secret"):
        kite.secret("kite-revoked", "list", "of today")
        kite.renew_mounts()
        for pod in (FIRST, SECOND):
            wait_for("it streams on with new clients", lambda pod=pod: resumed(kite, pod))
    _, verdict = ROWS[-1]
    assert not sum(verdict.sessions.values())
    assert kite.restarts() == before


def resumed(kite, pod):
    log = kite.kubectl("logs", pod)
    return (
        "kafka_files_renewed" in log and "slot_resumed" in log.partition("kafka_files_renewed")[2]
    )


def test_while_kafka_is_away_everything_is_kept(kite):
    before = kite.restarts()
    with kite.case(f"Kafka away for {AWAY_SECONDS} s and more"):
        kite.kafka(away=True)
        away_since = time.monotonic()
        wait_for("both say so", lambda: not any(s["ready"] for s in kite.statuses().values()))
        wait_for("long enough", lambda: time.monotonic() > away_since + AWAY_SECONDS)
        kite.kafka(away=False)
    assert kite.restarts() == before
    assert all(s["accounting"]["dropped"] == {} for s in kite.statuses().values())


def test_a_drain_moves_one_replica_at_a_time(kite):
    """What has no place elsewhere is left alone while another one is away."""
    nodes = [node["metadata"]["name"] for node in kite.cluster.get("nodes")["items"]]
    try:
        with kite.case("drained node"):
            drain(kite, kite.node_of(SECOND))
        kite.kubectl("cordon", *nodes)
        with (
            kite.case("drained again, no node left", settled=lambda: one_is_left(kite)),
            pytest.raises(CommandError, match="disruption budget"),
        ):
            drain(kite, kite.node_of(SECOND), f"--timeout={REFUSED_SECONDS}s")
        with kite.case("… uncordoned"):
            kite.kubectl("uncordon", *nodes)
    finally:
        kite.kubectl("uncordon", *nodes)


def drain(kite, node, *options):
    kite.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", *options,
                 f"--pod-selector={COMPONENT}")  # fmt: skip


def one_is_left(kite):
    return kite.settled(1, pods=2)


def test_a_lost_nodes_slots_go_to_the_others(kite):
    """Its pod stays as it was: only somebody who knows that the node is gone may replace it."""
    if not kite.cluster.nodes_can_be_lost:
        pytest.skip("the nodes of this cluster are not ours to lose")
    first, lost = sorted(node["metadata"]["name"] for node in kite.cluster.get("nodes")["items"])
    place(kite, FIRST, first, not_on=lost)
    place(kite, SECOND, lost, not_on=first)
    wait_for("one on each node", kite.settled)
    with kite.case("lost node", settled=lambda: has_all(kite, FIRST), killed=True):
        kite.cluster.lose(lost)
    assert {pod["metadata"]["name"] for pod in kite.pods()} == {FIRST, SECOND}


def has_all(kite, pod):
    return kite.owners() == dict.fromkeys(SLOTS, pod)


def place(kite, pod, node, not_on):
    if kite.node_of(pod) == node:
        return
    kite.kubectl("cordon", not_on)
    kite.kubectl("delete", "pod", pod, "--wait")
    wait_for("it is elsewhere", lambda: pod in kite.statuses() and kite.node_of(pod) == node)
    kite.kubectl("uncordon", not_on)
