"""What `helm install` prints at its end."""

import pytest

from tests.deploy.chart import ask, joined, objects, one

pytestmark = pytest.mark.deploy

CLIENT = {"token_url": "https://id.example.org/token", "client_id": "kite"}
PASSWORDS = {
    "kafka": {
        "credentials": {"secret": "kafka-login"},
        "tls": {"secret": "kafka-tls", "certificateKey": "tls.crt", "keyKey": "tls.key"},
    },
    "registry": {"credentials": {"secret": "registry-login"}, "tls": {"secret": "registry-tls"}},
    "settings": {
        "kafka": {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"},
        "registry": {"url": "https://registry:8081"},
    },
}
TOKENS = {
    "kafka": {"oauth": {"secret": "kafka-oauth"}, "tls": {"secret": "kafka-tls"}},
    "registry": {"oauth": {"secret": "registry-oauth", "key": "shh"}},
    "settings": {
        "kafka": {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER",
                  "oauth": CLIENT},
        "registry": {"url": "https://registry:8081", "oauth": CLIENT},
    },
}  # fmt: skip


@pytest.mark.parametrize("values", [PASSWORDS, TOKENS], ids=["passwords", "tokens"])
def test_each_secret_that_is_mounted_is_named_with_its_keys(values):
    (answer,) = ask({"do": "render", "values": values})
    templates = answer["result"]
    (notes,) = [text for name, text in templates.items() if name.endswith("NOTES.txt")]
    pod = one(objects(joined(templates)), "StatefulSet")["spec"]["template"]["spec"]
    wanted = {
        (secret.get("name") or secret["secretName"], item["key"])
        for volume in pod["volumes"]
        for secret in (
            *(one["secret"] for one in volume.get("projected", {}).get("sources", ())),
            *([volume["secret"]] if "secret" in volume else ()),
        )
        # without a list of them, all its keys
        for item in secret.get("items", [{"key": ""}])
    }
    assert len(wanted) >= 5
    lines = [line.strip() for line in notes.splitlines()]
    for name, key in wanted:
        told = [line for line in lines if line.startswith(f"{name}: ") and key in line]
        assert told, f"{name} with {key} in:\n{notes}"
