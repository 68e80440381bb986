"""deploy/examples: what other operators would say of it, and that it fits the chart's values."""

from pathlib import Path

import pytest
import yaml

from tests.support.crds import faults

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "deploy/examples"
CHART = ROOT / "deploy/helm/kite-connector"
RESOURCES = sorted(path for path in EXAMPLES.rglob("*.yaml") if not path.name.startswith("values"))
# what cert-manager puts into a Certificate's Secret
CERTIFICATE_KEYS = {"ca.crt", "tls.crt", "tls.key"}


def documents(path: Path) -> list[dict]:
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_the_operators_would_take_it(path):
    assert documents(path)
    for document in documents(path):
        assert faults(document) == [], document["metadata"]["name"]


def keys_of(document: dict) -> tuple[str, set[str]]:
    """The Secret that an operator makes of a resource, and its keys."""
    spec = document["spec"]
    if document["kind"] == "Certificate":
        return spec["secretName"], CERTIFICATE_KEYS
    return spec["target"]["name"], {entry["secretKey"] for entry in spec["data"]}


def asked_for(values: dict) -> dict[str, set[str]]:
    """The Secrets that values name, and the keys that the chart takes out of them."""
    found: dict[str, set[str]] = {}

    def take(secret: str, *keys: str) -> None:
        if secret:
            found.setdefault(secret, set()).update(key for key in keys if key)

    for account in values["accounts"]:
        take(account["secret"]["name"], account["secret"].get("key", "api_key"))
        token = account.get("tokenSecret", account["secret"])
        take(token["name"], token.get("key", "access_token"))
    for section in ("kafka", "registry"):
        login = values.get(section, {}).get("credentials", {})
        take(
            login.get("secret", ""),
            login.get("usernameKey", "username"),
            login.get("passwordKey", "password"),
        )
        tls = values.get(section, {}).get("tls", {})
        files = (tls.get(key, "") for key in ("certificateKey", "keyKey"))
        take(tls.get("secret", ""), tls.get("caKey", "ca.crt"), *files)
    return found


def test_external_secrets_are_all_that_the_production_values_need():
    made = dict(map(keys_of, documents(EXAMPLES / "external-secrets/secrets.yaml")))
    assert made == asked_for(yaml.safe_load((CHART / "values-production-scram.yaml").read_text()))


def test_the_values_take_the_certificate_as_cert_manager_makes_it():
    ((name, keys),) = map(keys_of, documents(EXAMPLES / "cert-manager/certificate.yaml"))
    asked = asked_for(yaml.safe_load((EXAMPLES / "cert-manager/values.yaml").read_text()))
    assert asked[name] == keys
