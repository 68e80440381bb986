import pytest

from connector.settings.models import Settings
from connector.settings.paths import (
    annotation_of,
    is_scalar,
    is_secret,
    is_secret_name,
    leaves,
    name_of,
    secrets_of,
    variable_of,
)


def test_every_setting_has_one_name():
    names = [variable_of(path) for path in leaves(Settings)]
    assert len(set(names)) == len(names)
    assert "KITE_ACCOUNTS__0__API_KEY" in names
    assert "KITE_CONNECTION__PING_INTERVAL_SECONDS" in names
    assert {name_of(path) for path in leaves(Settings) if is_secret(path)} == {
        "accounts.0.api_key",
        "accounts.0.api_secret",
        "accounts.0.access_token",
        "kafka.oauth.client_secret",
        "kafka.sasl_password",
        "kafka.ssl_key_password",
        "registry.oauth.client_secret",
        "registry.password",
    }


def test_a_path_that_is_no_setting_has_no_type():
    assert annotation_of(("kafka", "bootstrap_servers")) is not None
    for path in (("kafka", "nothing"), ("kafka", 0), ("name", "below"), ("accounts", "api_key")):
        assert annotation_of(path) is None


def test_lists_maps_and_sections_are_no_single_values():
    single = {path for path in leaves(Settings) if is_scalar(annotation_of(path))}
    assert ("name",) in single
    assert not {("kafka", "client"), ("instruments", 0, "instruments")} & single
    assert not is_scalar(annotation_of(("kafka",)))


@pytest.mark.parametrize(
    ("name", "secret"),
    [("sasl_password", True), ("pasword", True), ("ssl.key.pem", True), ("sasl.jaas.config", True),
     ("access_token_file", False), ("url", False)],
)  # fmt: skip
def test_a_secret_is_known_by_its_name(name, secret):
    assert is_secret_name(name) is secret


def test_all_secrets_of_a_tree_are_found():
    settings = Settings.model_validate(
        {
            "accounts": [{"api_key": "one", "access_token": "two"}],
            "kafka": {"client": {"ssl.key.password": "three", "linger.ms": 5}},
        }
    )
    assert set(secrets_of(settings)) == {"one", "two", "three"}


def test_an_unknown_name_is_cut_and_stays_in_its_line():
    assert name_of(("kafka", "a\nb", 0)) == "kafka.a b.0"
    assert len(name_of(("x" * 1000,))) < 100
