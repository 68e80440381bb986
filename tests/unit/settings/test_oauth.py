import pytest
from pydantic import ValidationError

from connector.settings.clear_text import clear_text
from connector.settings.models import KafkaSettings, RegistrySettings, Settings

OAUTH = {"token_url": "https://id.example.org/token", "client_id": "kite", "client_secret": "shh"}
TOKENS = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "oauth": OAUTH}


def kafka(**changes):
    return KafkaSettings.model_validate({**TOKENS, **changes})


def test_tokens_need_no_name_and_no_password():
    assert kafka().oauth.given() == ["token_url", "client_id", "client_secret"]
    assert "shh" not in repr(kafka())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"oauth": {}}, "needs oauth.token_url, oauth.client_id, oauth.client_secret"),
        ({"oauth": {**OAUTH, "client_id": None}}, "OAUTHBEARER needs oauth.client_id"),
        ({"sasl_username": "kite"}, "takes no sasl_username or sasl_password"),
        ({"security_protocol": "SSL"}, "security_protocol is not a SASL one"),
        ({"sasl_mechanism": "PLAIN"}, "oauth.token_url is set, but sasl_mechanism is not OAUTH"),
        ({"oauth": {**OAUTH, "token_url": "ftp://x"}}, "must begin with https:// or http://"),
    ],
)
def test_what_does_not_fit_is_told_with_its_name(changes, told):
    with pytest.raises(ValidationError) as raised:
        kafka(**changes)
    assert told in str(raised.value)
    assert "shh" not in str(raised.value.errors()[0]["msg"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"oauth": {"scope": "s"}}, "needs oauth.token_url, oauth.client_id, oauth.client_secret"),
        ({"username": "u", "password": "p"}, "give username and password, or oauth, not both"),
        ({"oauth": {**OAUTH, "identity_pool": "a,b=c"}}, "identity_pool"),
        ({"oauth": {**OAUTH, "logical_cluster": "a\r\nb"}}, "logical_cluster"),
    ],
)
def test_what_does_not_fit_a_registry_is_told_with_its_name(changes, told):
    with pytest.raises(ValidationError) as raised:
        RegistrySettings.model_validate({"oauth": OAUTH, **changes})
    assert told in str(raised.value)
    assert "shh" not in str(raised.value.errors()[0]["msg"])


@pytest.mark.parametrize(
    ("registry", "told"),
    [
        ({"url": "https://r.example"}, []),
        ({"url": "mock://r"}, []),
        ({"url": "http://r.example"}, ["registry.url: sends the token unencrypted to r.example"]),
        (
            {"url": "https://r", "oauth": {**OAUTH, "token_url": "http://b.com/t"}},
            ["registry.oauth.token_url: sends registry.oauth.client_secret unencrypted to b.com"],
        ),
    ],
)
def test_what_goes_out_unencrypted_to_a_registry_is_told(registry, told):
    settings = Settings.model_validate(
        {"accounts": [{"api_key": "k"}], "registry": {"oauth": OAUTH, **registry}}
    )
    assert [f"{found.setting}: {found}" for found in clear_text(settings)] == told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        (
            {"oauth": {**OAUTH, "token_url": "http://id.example/token"}},
            ["kafka.oauth.token_url: sends kafka.oauth.client_secret unencrypted to id.example"],
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT", "bootstrap_servers": "kafka.example.com:9092"},
            ["kafka.security_protocol: sends the token unencrypted to kafka.example.com"],
        ),
    ],
)
def test_what_goes_out_unencrypted_is_told(changes, told):
    settings = Settings.model_validate(
        {
            "accounts": [{"api_key": "k"}],
            "feed": {},
            "kafka": {**TOKENS, **changes},
        }
    )
    assert [f"{found.setting}: {found}" for found in clear_text(settings)] == told
