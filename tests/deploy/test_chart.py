"""The Helm chart, without a cluster: linted, rendered, validated, and its settings given to the
connector."""

import copy
import json
import math
import re
import runpy
import subprocess

import pytest
import yaml

from connector.control.plan import parse_watchlists
from connector.settings.source import load
from connector.settings.yaml_text import read_yaml
from tests.deploy.chart import (
    CHART,
    EXAMPLES,
    ROOT,
    ask,
    joined,
    objects,
    one,
    render,
    tool,
    values_of,
)
from tests.support.documented import block_after

pytestmark = pytest.mark.deploy

NEWEST, OLDEST = "1.37", "1.27"
CUSTOM = {"ServiceMonitor", "PrometheusRule"}

EVERYTHING = {
    "monitoring": {
        "serviceMonitor": {
            "enabled": True,
            "relabelings": [{"targetLabel": "cluster", "replacement": "a"}],
            "metricRelabelings": [{"action": "labeldrop", "regex": "instance"}],
        },
        "rules": {"enabled": True, "alertLabels": {"team": "data"}},
        "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Market"}},
    },
    "annotations": {"reloader.stakater.com/auto": "true"},
    "imagePullSecrets": ["pull"],
    "image": {"digest": "sha256:" + "0" * 64},
    "kafka": {"tls": {"secret": "tls", "certificateKey": "tls.crt", "keyKey": "tls.key"}},
    "registry": {"tls": {"secret": "tls"}, "credentials": {"secret": "registry"}},
    "settings": {
        "grace_seconds": 30.5,
        "kafka": {"security_protocol": "SSL", "queue_max_messages": 3000000},
        "feed": {"root": "wss://feed.example.org:8443", "rest": "https://api.example.org"},
        "instrument_master": {"refresh_at": "12:35"},
        "instruments": [{"mode": "full", "instruments": [128083204, "NSE:INFY"]}],
    },
    "spool": {"persistence": {"enabled": True, "storageClass": "fast"}},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "market", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [],
    "priorityClassName": "high",
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "data"},
    "extraEnv": [{"name": "KITE_LOGGING__LEVEL", "value": "debug"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "extraObjects": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "{{ .Release.Name }}-more", "namespace": "market"},
            "data": {"for": '{{ include "kite-connector.fullname" . }}'},
        }
    ],
    "networkPolicy": {
        "dnsPorts": [53, 5353],
        "kafkaPorts": [9095],
        "kafkaTo": [{"podSelector": {"matchLabels": {"app": "kafka"}}}],
        "registryTo": [{"podSelector": {"matchLabels": {"app": "registry"}}}],
        "feedTo": [{"ipBlock": {"cidr": "203.0.113.0/24"}}],
        "extraEgress": [{"ports": [{"port": 3128, "protocol": "TCP"}]}],
    },
    "serviceAccount": {"annotations": {"a": "b"}},
    "watchlists": {
        "apply": {"enabled": True, "prune": True},
        "file": {"algo-1": {"full": ["NSE:INFY", 128083204]}},
    },
}


def all_values() -> dict[str, dict]:
    found = {name: values_of(name) for name in EXAMPLES}
    found["everything"] = EVERYTHING
    for path in sorted((ROOT / "deploy/examples").glob("*/values.yaml")):
        found[path.parent.name] = yaml.safe_load(path.read_text())
    return found


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    """Every example as YAML text."""
    cases = all_values()
    answers = ask(*({"do": "render", "values": values} for values in cases.values()))
    assert all("result" in answer for answer in answers), answers
    return {name: joined(answer["result"]) for name, answer in zip(cases, answers, strict=True)}


def test_lint_finds_nothing():
    cases = all_values()
    answers = ask(*({"do": "lint", "values": values} for values in cases.values()))
    for name, answer in zip(cases, answers, strict=True):
        assert answer == {"result": {"errors": [], "bad": []}}, name


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_objects_are_valid(rendered, version):
    answers = ask(
        *({"do": "validate", "text": text, "version": version} for text in rendered.values())
    )
    for name, answer in zip(rendered, answers, strict=True):
        assert answer["result"]["errors"] == [], name
        assert set(answer["result"]["unknown"]) <= CUSTOM, name


def test_no_object_stands_twice(rendered):
    for name, text in rendered.items():
        seen = [(d["kind"], d["metadata"]["name"]) for d in objects(text)]
        assert len(seen) == len(set(seen)), name


def test_no_example_makes_a_secret(rendered):
    for text in rendered.values():
        assert "Secret" not in {document["kind"] for document in objects(text)}


# each with why it does not apply; checkov's names are in its documentation
ACCEPTED_POLICIES = {
    "CKV_K8S_8": "helm's test pod ends by itself: a liveness probe says nothing",
    "CKV_K8S_9": "and nobody sends it traffic",
    "CKV_K8S_11": "no CPU limit: throttling delays ticks",
    "CKV_K8S_15": "pulling at each start would make the image registry a part of every restart",
    "CKV_K8S_43": "a digest can be given, the examples show tags",
}
ONLY_TEST_PODS = {"CKV_K8S_8", "CKV_K8S_9"}


def test_policies(rendered, tmp_path):
    for name, text in rendered.items():
        (tmp_path / name.replace(".yaml", "")).with_suffix(".yaml").write_text(text)
    options = "--framework kubernetes --skip-download --compact --quiet --output json"
    done = subprocess.run(
        [tool("checkov"), "--directory", str(tmp_path), *options.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    failed = {
        (check["check_id"], check["check_name"], check["resource"])
        for check in report["results"]["failed_checks"]
    }
    assert {identity for identity, _, _ in failed} >= set(ACCEPTED_POLICIES), "accepted in vain"
    wrong = [
        " ".join(found)
        for found in sorted(failed)
        if found[0] not in ACCEPTED_POLICIES
        or (found[0] in ONLY_TEST_PODS and not found[2].endswith("-test"))
    ]
    assert not wrong, "\n".join(wrong)
    assert report["summary"]["passed"] > 100


def mounted(pod: dict) -> dict[str, str]:
    """Each file that Secrets bring into a pod with named keys, and its key."""
    places = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    found = {}
    for volume in pod["volumes"]:
        sources = [one["secret"] for one in volume.get("projected", {}).get("sources", ())]
        for secret in [*sources, *([volume["secret"]] if "secret" in volume else ())]:
            for item in secret.get("items", ()):
                found[f"{places[volume['name']]}/{item['path']}"] = item["key"]
    return found


def settings_of(documents: list[dict], tmp_path) -> tuple[object, dict]:
    """The settings that the connector would read in the rendered pod, and the pod."""
    config = one(documents, "ConfigMap", one(documents, "StatefulSet")["metadata"]["name"])
    file = tmp_path / "kite-connector.yaml"
    file.write_text(config["data"]["kite-connector.yaml"])
    pod = one(documents, "StatefulSet")["spec"]["template"]["spec"]
    environment = {
        variable["name"]: variable.get("value", f"from-{variable['name']}")
        for variable in pod["containers"][0]["env"]
    }
    assert environment.pop("KITE_CONNECTOR_CONFIG").endswith("/kite-connector.yaml")
    # as the kubelet would mount them
    text = file.read_text()
    for path, key in mounted(pod).items():
        if path in text:
            here = tmp_path / path.strip("/").replace("/", "-")
            here.write_text(f"{key}-of-{here.name}")
            text = text.replace(f"{path}\n", f"{here}\n")
    file.write_text(text)
    return load(file, environment).settings, pod


@pytest.mark.parametrize("name", all_values())
def test_the_connector_takes_the_settings(rendered, tmp_path, name):
    settings, pod = settings_of(objects(rendered[name]), tmp_path)
    mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    files = [settings.kafka.ssl_ca_file, settings.kafka.ssl_certificate_file]
    files += [settings.kafka.ssl_key_file, settings.registry.ca_file]
    files += [settings.spool.directory, settings.instrument_master.cache_file]
    for file in files:
        assert file is None or str(file.parent) in mounts, file
    assert settings.http.host == "0.0.0.0"
    assert settings.http.port == pod["containers"][0]["ports"][0]["containerPort"]
    assert pod["terminationGracePeriodSeconds"] >= math.ceil(settings.grace_seconds) + 5
    declared = {volume["name"] for volume in pod["volumes"]} | {"state"}
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} <= declared


def test_numbers_and_times_keep_their_form(rendered, tmp_path):
    settings, _ = settings_of(objects(rendered["everything"]), tmp_path)
    assert settings.instruments[0].instruments == (128083204, "NSE:INFY")
    assert settings.kafka.queue_max_messages == 3_000_000
    assert settings.grace_seconds == 30.5
    assert settings.instrument_master.refresh_at == "12:35"
    assert settings.logging.level == "debug"


def test_every_pod_is_confined(rendered):
    seen = set()
    for name, text in rendered.items():
        for document in objects(text):
            spec = document.get("spec", {})
            pod = spec if document["kind"] == "Pod" else spec.get("template", {}).get("spec")
            if not pod or "containers" not in pod:
                continue
            seen.add(document["kind"])
            assert pod["automountServiceAccountToken"] is False, name
            assert pod["enableServiceLinks"] is False, name
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["runAsUser"] == 10001
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            for container in pod["containers"]:
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
    assert seen == {"StatefulSet", "Deployment", "Pod", "Job"}


def test_the_watchlists_are_a_file_that_a_job_applies(rendered):
    documents = objects(rendered["everything"])
    (job,) = (document for document in documents if document["kind"] == "Job")
    file = one(documents, "ConfigMap", job["metadata"]["name"])["data"]["watchlists.yaml"]
    wanted = parse_watchlists(read_yaml(file).value).watchlists["algo-1"]
    assert wanted.full == ("NSE:INFY", 128083204)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"][:2] == ["ctl", "apply"]
    assert "--prune" in container["args"]
    assert not [d for d in objects(rendered["values.yaml"]) if d["kind"] == "Job"]


def test_a_new_setting_rolls_the_replicas():
    def annotations(level):
        documents = render({"settings": {"logging": {"level": level}}})
        return one(documents, "StatefulSet")["spec"]["template"]["metadata"]["annotations"]

    assert annotations("info") == annotations("info")
    assert annotations("info") != annotations("debug")


def test_a_restarted_container_is_known_by_its_pod_and_a_pod_made_anew_is_not():
    """A pod's name would be known, too, by one that replaces it while it lives on a lost node."""
    (container,) = one(render({}), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    (instance,) = [v for v in container["env"] if v["name"] == "KITE_CLUSTER__INSTANCE"]
    assert instance["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.uid"}}
    (answer,) = ask({"do": "render", "values": {"settings": {"cluster": {"instance": "one"}}}})
    assert "instance" in answer["error"], "the same for all replicas"


def test_the_last_words_of_a_container_that_failed_are_kept():
    (container,) = one(render({}), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_token_is_a_folder_and_may_come_later():
    pod = one(render({}), "StatefulSet")["spec"]["template"]["spec"]
    (mount,) = [
        mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "account-main"
    ]
    assert "subPath" not in mount, "would never change"
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "account-main"]
    key, token = (source["secret"] for source in volume["projected"]["sources"])
    assert token["optional"] is True
    assert "optional" not in key


@pytest.mark.parametrize("name", all_values())
def test_no_secret_is_in_the_environment(rendered, name):
    for document in objects(rendered[name]):
        assert "secretKeyRef" not in yaml.safe_dump(document), document["kind"]


def test_each_login_is_a_file_with_the_key_that_the_values_name():
    login = {"secret": "s", "usernameKey": "user", "passwordKey": "pass"}
    tls = {"secret": "t", "keyKey": "k", "certificateKey": "c", "keyPasswordKey": "p"}
    documents = render({"kafka": {"credentials": login, "tls": tls}})
    pod = one(documents, "StatefulSet")["spec"]["template"]["spec"]
    files = mounted(pod)
    text = one(documents, "ConfigMap", "kite-kite-connector")["data"]["kite-connector.yaml"]
    kafka = yaml.safe_load(text)["kafka"]
    assert files[kafka["sasl_username_file"]] == "user"
    assert files[kafka["sasl_password_file"]] == "pass"
    assert kafka["ssl_key_password_file"] == "/etc/kite-connector/kafka-tls/p"


def test_the_secrets_of_tokens_are_files_as_well():
    client = {"token_url": "https://id.example.org/token", "client_id": "kite"}
    values = {
        "kafka": {"oauth": {"secret": "brokers"}},
        "registry": {"oauth": {"secret": "schemas", "key": "shh"}},
        "settings": {
            "kafka": {
                "security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "oauth": client,
            },
            "registry": {"oauth": {**client, "logical_cluster": "lsrc-1"}},
        },
    }  # fmt: skip
    documents = render(values)
    files = mounted(one(documents, "StatefulSet")["spec"]["template"]["spec"])
    text = one(documents, "ConfigMap", "kite-kite-connector")["data"]["kite-connector.yaml"]
    settings = yaml.safe_load(text)
    found = {
        section: settings[section]["oauth"].pop("client_secret_file")
        for section in ("kafka", "registry")
    }
    assert {section: files[path] for section, path in found.items()} == {
        "kafka": "client_secret", "registry": "shh",
    }  # fmt: skip
    assert settings["kafka"]["oauth"] == client
    assert settings["registry"]["oauth"] == {**client, "logical_cluster": "lsrc-1"}


SECRET_VARIABLES = {
    "KITE_ACCOUNTS__0__API_KEY": "name a Secret in accounts[].secret",
    "KITE_ACCOUNTS__12__ACCESS_TOKEN": "name a Secret in accounts[].secret",
    "KITE_ACCOUNTS__0": "name a Secret in accounts[].secret",
    "KITE_ACCOUNTS": "name a Secret in accounts[].secret",
    "KITE_KAFKA__SASL_PASSWORD": "name a Secret in kafka.credentials.secret",
    "KITE_KAFKA__SSL_KEY_PASSWORD": "name the Secret's key in kafka.tls.keyPasswordKey",
    "KITE_KAFKA__OAUTH__CLIENT_SECRET": "name a Secret in kafka.oauth.secret",
    "KITE_KAFKA__OAUTH": "name a Secret in kafka.oauth.secret",
    "KITE_KAFKA__CLIENT": "give properties without secrets in settings.kafka.client",
    "KITE_KAFKA": "name a Secret in kafka.credentials.secret",
    "KITE_REGISTRY__PASSWORD": "name a Secret in registry.credentials.secret",
    "KITE_REGISTRY__OAUTH__CLIENT_SECRET": "name a Secret in registry.oauth.secret",
    "KITE_REGISTRY": "name a Secret in registry.credentials.secret",
}


def test_a_secret_is_no_extra_variable_and_the_refusal_says_what_to_do():
    answers = ask(
        *({"do": "render", "values": {"extraEnv": [{"name": name, "value": "hunter2"}]}}
          for name in SECRET_VARIABLES)
    )  # fmt: skip
    for (name, instead), answer in zip(SECRET_VARIABLES.items(), answers, strict=True):
        assert f"extraEnv: {name} would put a secret into the pod's environment" in answer["error"]
        assert f"secrets are files: {instead}" in answer["error"]
        assert "hunter2" not in answer["error"]


def test_every_variable_of_a_secret_and_of_a_section_with_one_is_refused():
    generated = runpy.run_path(str(ROOT / "deploy/helm/generate.py"))["secret_variables"]()
    patterns = {re.sub(r"__[0-9]+", "__[0-9]+", f"^{name}$") for name in SECRET_VARIABLES}
    others = {"^KITE_ACCOUNTS__[0-9]+__API_SECRET$", "^KITE_REGISTRY__OAUTH$"}
    assert set(generated) == patterns | others


def test_other_variables_are_taken_also_those_of_the_files_of_secrets():
    files = ["KITE_KAFKA__SASL_PASSWORD_FILE", "KITE_ACCOUNTS__0__API_KEY_FILE"]
    values = {
        "extraEnv": [{"name": name, "value": "/x"} for name in (*files, "TZ")],
        "watchlists": EVERYTHING["watchlists"],
    }
    documents = render(values)
    for kind in ("StatefulSet", "Job"):
        (container,) = one(documents, kind)["spec"]["template"]["spec"]["containers"]
        given = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert {name: given.get(name) for name in (*files, "TZ")} == dict.fromkeys(
            (*files, "TZ"), "/x"
        )


def test_the_network_policy_opens_only_what_the_settings_name(rendered):
    def egress(name):
        policy = one(objects(rendered[name]), "NetworkPolicy", "kite-kite-connector")
        return policy["spec"]["egress"]

    ports = [[rule["port"] for rule in each["ports"]] for each in egress("everything")]
    assert ports == [[53, 53, 5353, 5353], [9092, 9095], [8081], [443, 8443], [3128]]
    ports = [
        [rule["port"] for rule in each["ports"]] for each in egress("values-simulator.yaml")[1:3]
    ]
    assert ports == [[9092], [8080]]
    internet = egress("values.yaml")[3]["to"][0]["ipBlock"]
    assert internet["cidr"] == "0.0.0.0/0"
    assert "169.254.0.0/16" in internet["except"], "a cloud's metadata service"


def test_pods_of_its_own_namespace_may_ask_and_others_that_are_named(rendered):
    def peers(name):
        (rule,) = one(objects(rendered[name]), "NetworkPolicy", "kite-kite-connector")["spec"][
            "ingress"
        ]
        return rule["from"]

    assert peers("values.yaml") == [{"podSelector": {}}]
    named = values_of("values-production-scram.yaml")["networkPolicy"]["ingressFrom"]
    *others, test = peers("values-production-scram.yaml")
    assert others == named
    assert test["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"


def test_the_simulator_needs_no_secret(rendered):
    documents = objects(rendered["values-simulator.yaml"])
    assert "secretKeyRef" not in yaml.safe_dump(documents)
    assert not [d for d in documents if "secret" in yaml.safe_dump(d.get("spec", {}))]


def test_one_replica_has_no_disruption_budget():
    assert "PodDisruptionBudget" not in {d["kind"] for d in render({"replicas": 1})}
    assert "PodDisruptionBudget" in {d["kind"] for d in render({"replicas": 2})}


@pytest.mark.parametrize("persistent", [True, False])
def test_a_spool_that_goes_with_its_pod_is_known_to_the_connector_and_to_a_drain(persistent):
    documents = render({"replicas": 2, "spool": {"persistence": {"enabled": persistent}}})
    (budget,) = [d for d in documents if d["kind"] == "PodDisruptionBudget"]
    policy = budget["spec"]["unhealthyPodEvictionPolicy"]
    assert policy == ("AlwaysAllow" if persistent else "IfHealthyBudget")
    settings = [
        yaml.safe_load(d["data"]["kite-connector.yaml"])
        for d in documents
        if d["kind"] == "ConfigMap" and "kite-connector.yaml" in d.get("data", {})
    ]
    assert [each["spool"]["ephemeral"] for each in settings] == [not persistent]


def changed(path: str, value) -> dict:
    """Values with one thing set, given by its path."""
    values: dict = {}
    here = values
    *above, last = path.split("/")
    for part in above:
        here = here.setdefault(part, {})
    here[last] = value
    return values


WRONG = [
    ("replica", 2),
    ("watchlists/file", {"algo": {"fulll": []}}),
    ("watchlists/file", {"algo": {"full": ["INFY"]}}),
    ("replicas", -1),
    ("replicas", "two"),
    ("image/tags", "x"),
    ("image/digest", "latest"),
    ("image/pullPolicy", "Sometimes"),
    ("accounts", [{"name": "main"}]),
    ("accounts", [{"name": "main", "secret": {"name": "x"}, "api_key": "abc"}]),
    ("accounts", [{"name": "main", "secret": {"name": "x"}, "connections": 4}]),
    ("accounts", [{"name": "Main", "secret": {"name": "x"}}]),
    ("accounts", []),
    ("settings/kafka/bootstrap_server", "x:1"),
    ("settings/kafka/sasl_password", "hunter2"),
    ("settings/kafka/sasl_username", "me"),
    ("settings/kafka/client", {"sasl.password": "hunter2"}),
    ("settings/kafka/client", {"ssl.key.pem": "-----BEGIN"}),
    ("settings/kafka/compression", "brotli"),
    ("settings/registry/password", "hunter2"),
    ("settings/registry/oauth", {"client_secret": "hunter2"}),
    ("registry/oauth", {"client_secret": "hunter2"}),
    ("settings/accounts", [{"api_key": "abc"}]),
    ("settings/http", {"port": 1}),
    ("settings/spool", {"directory": "/somewhere"}),
    ("settings/spool", {"ephemeral": False}),
    ("settings/grace_seconds", 0),
    ("settings/instruments", [{"mode": "all", "instruments": [1]}]),
    ("settings/topics/tick_partitions", 0),
    ("terminationMarginSeconds", 0),
    ("spool/persistence/size", "much"),
    ("podDisruptionBudget/maxUnavailable", "half"),
    ("monitoring/rules/disabled", ["NoSuchAlert"]),
    ("monitoring/rules/marketHours/from", "9:15"),
    ("monitoring/serviceMonitor/interval", "often"),
    ("extraEnv", [{"name": "1X", "value": "x"}]),
    ("resources/limits", {"gpu": 1}),
    ("simulator/replicas", 2),
    ("networkPolicy/kafkaPorts", [0]),
    ("networkPolicy/dnsPorts", []),
    ("runAsUser", 0),
    ("monitoring/rules/alertLabels", ["team"]),
]


def test_wrong_values_are_refused():
    answers = ask(*({"do": "render", "values": changed(*wrong)} for wrong in WRONG))
    accepted = [
        wrong for wrong, answer in zip(WRONG, answers, strict=True) if "error" not in answer
    ]
    assert not accepted


def test_what_the_schema_lets_through_is_closed():
    """Every object of the schema is closed, but for the few that Kubernetes judges itself."""
    open_paths = []

    def walk(node, path):
        if isinstance(node, list):
            for number, item in enumerate(node):
                walk(item, f"{path}/{number}")
        elif isinstance(node, dict):
            if node.get("type") == "object" and node.get("additionalProperties", True) is True:
                open_paths.append(path)
            for key, value in node.items():
                walk(value, f"{path}/{key}")

    walk(json.loads((CHART / "values.schema.json").read_text()), "")
    assert sorted(open_paths) == ["/$defs/open", "/properties/global"]


def test_replicas_can_be_stopped_or_left_to_somebody_else():
    assert one(render({"replicas": 0}), "StatefulSet")["spec"]["replicas"] == 0
    documents = render({"replicas": None})
    assert "replicas" not in one(documents, "StatefulSet")["spec"]
    assert "PodDisruptionBudget" in {document["kind"] for document in documents}
    assert "range(1)" in yaml.safe_dump(one(documents, "Pod"), width=1000)


def test_the_platform_may_choose_the_user():
    pod = one(render({"runAsUser": None}), "StatefulSet")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_every_pod_goes_to_the_nodes_that_take_it():
    place = {"nodeSelector": {"kubernetes.io/arch": "arm64"}, "imagePullSecrets": ["pull"]}
    place |= {"tolerations": [{"key": "market", "operator": "Exists"}]}
    documents = render({**place, "simulator": {"enabled": True}})
    pods = [one(documents, "Pod")["spec"]]
    pods += [one(documents, k)["spec"]["template"]["spec"] for k in ("StatefulSet", "Deployment")]
    for pod in pods:
        assert pod["nodeSelector"] == place["nodeSelector"]
        assert pod["tolerations"] == place["tolerations"]
        assert pod["imagePullSecrets"] == [{"name": "pull"}]


def test_the_documented_values_are_accepted(tmp_path):
    block = block_after("docs/deployment.md", "3. Write your values")
    settings, _ = settings_of(render(yaml.safe_load(block.text)), tmp_path)
    assert settings.kafka.bootstrap_servers.startswith("kafka-0:9092,")
    assert settings.instruments[0].mode == "full"


def test_labels_and_annotations_arrive(rendered):
    documents = objects(rendered["everything"])
    assert "reloader.stakater.com/auto" in one(documents, "StatefulSet")["metadata"]["annotations"]
    board = one(documents, "ConfigMap", "kite-kite-connector-dashboard")
    assert board["metadata"]["annotations"] == {"grafana_folder": "Market"}
    (endpoint,) = one(documents, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["relabelings"][0]["targetLabel"] == "cluster"
    assert endpoint["metricRelabelings"][0]["action"] == "labeldrop"
    for group in one(documents, "PrometheusRule")["spec"]["groups"]:
        for rule in group["rules"]:
            assert set(rule["labels"]) == {"severity", "team"}


def test_an_alert_can_be_left_out():
    values = copy.deepcopy(EVERYTHING)
    values["monitoring"]["rules"]["disabled"] = ["KiteConnectorPureCodec"]
    groups = one(render(values), "PrometheusRule")["spec"]["groups"]
    names = [rule["alert"] for group in groups for rule in group["rules"]]
    assert "KiteConnectorPureCodec" not in names
    assert "KiteConnectorNotReady" in names


def test_it_can_be_packaged(tmp_path):
    (answer,) = ask({"do": "package", "destination": str(tmp_path)})
    assert answer["result"].endswith("kite-connector-0.1.0.tgz")
