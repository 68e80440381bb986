import pytest

from connector.errors import SettingsError
from connector.kafka.rights import rights
from connector.kafka.strimzi import authentication_of, strimzi_resources
from connector.kafka.topics import topic_specs
from connector.settings.models import KafkaSettings, Settings
from tests.support.crds import faults

SCRAM = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_username": "kite",
    "sasl_password": "not-a-real-password",
}
MUTUAL = {"security_protocol": "SSL", "ssl_certificate_file": "/c", "ssl_key_file": "/k"}


def made(settings=None, **options):
    options = {"slots": 3, "cluster": "main", **options}
    raw = {"accounts": [{"api_key": "none"}], **(settings or {})}
    return strimzi_resources(Settings.model_validate(raw), **options)


def of(kind, documents):
    return {one["metadata"]["name"]: one["spec"] for one in documents if one["kind"] == kind}


@pytest.mark.parametrize("kafka", [{}, SCRAM, MUTUAL, {**SCRAM, "sasl_mechanism": "PLAIN"}])
@pytest.mark.parametrize("prefix", ["kite", "Market_Data-"])
@pytest.mark.parametrize("namespace", [None, "kafka"])
def test_strimzi_would_take_it(kafka, prefix, namespace):
    topics = {"prefix": prefix, "latest": True}
    documents = made({"kafka": kafka, "topics": topics}, namespace=namespace)
    assert documents
    for document in documents:
        assert faults(document) == []
        assert document["metadata"]["labels"] == {"strimzi.io/cluster": "main"}
        assert document["metadata"].get("namespace") == namespace


def test_the_schemas_refuse_what_strimzi_does():
    topic, *_, user = made()
    assert faults({**topic, "spec": {**topic["spec"], "partition": 1}})
    assert faults({**topic, "spec": {**topic["spec"], "replicas": 0}})
    assert faults({**topic, "apiVersion": "kafka.strimzi.io/v1beta2"})
    user["spec"]["authorization"]["acls"][0]["operations"] = ["Reed"]
    assert faults(user)


def test_each_topic_has_what_the_connector_would_give_it():
    raw = {"topics": {"latest": True, "tick_partitions": 12, "replication_factor": 2}}
    topics = of("KafkaTopic", made(raw, slots=6))
    settings = Settings.model_validate({"accounts": [{"api_key": "none"}], **raw}).topics
    specs = topic_specs(settings, slots=6)
    assert list(topics) == [spec.name for spec in specs]
    for spec in specs:
        assert topics[spec.name] == {
            "partitions": spec.partitions, "replicas": 2, "config": dict(spec.config),
        }  # fmt: skip


def test_a_topic_whose_name_no_resource_may_have_has_a_resource_of_its_own():
    upper = of("KafkaTopic", made({"topics": {"prefix": "Kite"}}))
    lower = of("KafkaTopic", made({"topics": {"prefix": "kite"}}))
    assert not set(upper) & set(lower), "one would take the other's place"
    assert {spec["topicName"] for spec in upper.values()} == {
        name.replace("kite", "Kite", 1) for name in lower
    }
    assert not any("topicName" in spec for spec in lower.values())


def granted(spec):
    return {
        (acl["resource"]["type"].replace("Id", " id"), acl["resource"]["name"],
         acl["resource"]["patternType"] == "prefix", tuple(acl["operations"]))
        for acl in spec["authorization"]["acls"]
    }  # fmt: skip


def wanted(*principals):
    return {tuple(right)[1:] for right in rights("shop", "kite") if right.principal in principals}


@pytest.mark.parametrize("create", [True, False])
def test_each_user_has_the_rights_of_the_table_and_no_others(create):
    users = of("KafkaUser", made({"name": "shop", "topics": {"create": create}}))
    itself = ("connector", "creator") if create else ("connector",)
    assert {name: granted(spec) for name, spec in users.items()} == {
        "shop": wanted(*itself),
        "shop-operator": wanted("operator"),
        "shop-consumer": wanted("consumer"),
    }


@pytest.mark.parametrize(
    ("kafka", "kind"),
    [
        ({}, "scram-sha-512"),
        (SCRAM, "scram-sha-512"),
        ({**SCRAM, "sasl_mechanism": "SCRAM-SHA-256"}, "none"),
        ({**SCRAM, "sasl_mechanism": "PLAIN"}, "none"),
        (MUTUAL, "tls"),
    ],
)
def test_users_prove_who_they_are_as_the_settings_say(kafka, kind):
    assert authentication_of(KafkaSettings.model_validate(kafka)) == kind
    for spec in of("KafkaUser", made({"kafka": kafka})).values():
        assert spec.get("authentication", {"type": "none"}) == {"type": kind}


def test_users_are_called_as_brokers_know_them():
    assert next(iter(of("KafkaUser", made({"kafka": SCRAM})))) == "kite"
    assert "x-operator" in of("KafkaUser", made({"kafka": SCRAM}, user="x"))


@pytest.mark.parametrize(
    ("settings", "options", "told"),
    [
        ({"name": "Kite_1"}, {}, "name: Kite_1 cannot be the name of a KafkaUser"),
        ({"kafka": {**SCRAM, "sasl_username": "a b"}}, {}, "kafka.sasl_username: a b cannot be"),
        ({}, {"user": "-x"}, "--user: -x cannot be"),
        ({}, {"user": "x" * 60, "authentication": "tls"}, "has 69 characters, and the name in"),
    ],
)
def test_a_user_that_strimzi_cannot_have_is_told_with_the_setting(settings, options, told):
    with pytest.raises(SettingsError, match=told):
        made(settings, **options)
