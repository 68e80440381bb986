import pytest
from pydantic import ValidationError

from connector.kite.wire.models import Mode
from connector.settings.models import Settings


def settings(**given):
    return Settings.model_validate({"accounts": [{"api_key": "k"}], **given})


def reasons(**given):
    with pytest.raises(ValidationError) as caught:
        settings(**given)
    return str(caught.value)


def test_little_is_required():
    plain = settings()
    assert plain.accounts[0].name == "main"
    assert plain.instruments == ()


def test_an_account_is_required():
    with pytest.raises(ValidationError, match="accounts"):
        Settings()


def test_the_tree_is_frozen():
    with pytest.raises(ValidationError):
        settings().kafka.linger_ms = 1


def test_no_secret_is_in_the_repr():
    secret = "sesame-1234"
    account = {"api_key": secret, "api_secret": secret, "access_token": secret}
    shown = repr(settings(accounts=[account], registry={"username": "u", "password": secret}))
    assert secret not in shown


def test_the_environment_is_not_read(monkeypatch):
    monkeypatch.setenv("KITE_NAME", "from-the-environment")
    assert settings().name == "kite-connector"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (408065, 408065),
        ("408065", 408065),
        ("NSE:INFY", "NSE:INFY"),
        ("nse: INFY", "NSE:INFY"),
        ("NSE:NIFTY 50", "NSE:NIFTY 50"),
    ],
)
def test_instruments_are_tokens_or_names(given, kept):
    (group,) = settings(instruments=[{"instruments": [given]}]).instruments
    assert group.instruments == (kept,)
    assert group.mode is Mode.QUOTE


@pytest.mark.parametrize("given", [True, 1.5, 0, -1, 2**32 + 1, 408075, "INFY", "XYZ:INFY", "NSE:"])
def test_anything_else_is_not_an_instrument(given):
    assert "instruments.0.instruments.0" in reasons(instruments=[{"instruments": [given]}])


def test_names_need_the_instrument_master():
    group = {"instruments": ["NSE:INFY"]}
    text = reasons(instruments=[group], instrument_master={"load": False})
    assert "NSE:INFY is a name" in text


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"accounts": [{"api_key": "a"}, {"api_key": "b"}]}, "more than once"),
        (
            {"accounts": [{"name": "x", "api_key": "a"}, {"name": "y", "api_key": "a"}]},
            "same api_key",
        ),
        (
            {"instruments": [{"account": "second", "instruments": [265]}]},
            "the account of group 0, 'second', is not there; accounts has main",
        ),
        (
            {
                "accounts": [{"name": "a", "api_key": "1"}, {"name": "b", "api_key": "2"}],
                "instruments": [
                    {"account": "a", "instruments": [265, 257]},
                    {"account": "b", "instruments": [257]},
                ],
            },
            "group 1 has 257 on account b, another group on account a",
        ),
        ({"accounts": [{"api_key": ""}]}, "api_key"),
        ({"accounts": [{"api_key": "a", "access_token": "t", "access_token_file": "f"}]}, "both"),
        ({"kafka": {"bootstrap_servers": "kafka"}}, "host:port"),
        ({"kafka": {"bootstrap_servers": "http://kafka:9092"}}, "host:port"),
        ({"kafka": {"bootstrap_servers": "kafka:99999"}}, "host:port"),
        ({"kafka": {"security_protocol": "SASL_SSL"}}, "needs sasl_mechanism"),
        ({"kafka": {"sasl_username": "u"}}, "not a SASL one"),
        ({"kafka": {"ssl_key_file": "k"}}, "go together"),
        ({"topics": {"replication_factor": 1, "min_insync_replicas": 2}}, "must not exceed"),
        ({"registry": {"url": "localhost:8081"}}, "must begin with"),
        ({"registry": {"url": "http://user:word@host"}}, "no user or password"),
        ({"registry": {"username": "u"}}, "go together"),
        ({"feed": {"root": "https://ws.kite.trade"}}, "wss://"),
        ({"feed": {"root": "wss://ws.kite.trade?api_key=k&access_token=t"}}, "end with its path"),
        ({"feed": {"rest": "https://api.kite.trade#x"}}, "end with its path"),
        ({"feed": {"root": "wss://ws.kite.trade:https"}}, "a port that is none"),
        ({"feed": {"root": "wss://:443"}}, "names no host"),
        ({"grace_seconds": 0}, "grace_seconds"),
        ({"kafka": {"bootstrap_servers": "u:word@kafka:9092"}}, "no user or password"),
        ({"kafka": {"queue_max_mib": 2**21}}, "queue_max_mib"),
        ({"kafka": {"queue_max_messages": 10**14}}, "queue_max_messages"),
        ({"topics": {"tick_retention_hours": float("inf")}}, "tick_retention_hours"),
        ({"topics": {"control_retention_hours": 1e300}}, "control_retention_hours"),
        ({"topics": {"order_retention_hours": 1e-300}}, "order_retention_hours"),
        ({"spool": {"directory": " "}}, "is empty"),
        ({"accounts": [{"api_key": "a", "access_token_file": ""}]}, "is empty"),
        ({"kafka": {"bootstrap": "x"}}, "kafka.bootstrap"),
        ({"kafka": {"client": {"error_cb": "x"}}}, "error_cb is a function of a program"),
        ({"kafka": {"client": {"logger": "x"}}}, "logger is a function of a program"),
        ({"logging": {"summary_seconds": 0.5}}, "must be 0, or 1 at least"),
        ({"connection": {"ping_interval_seconds": 1e-9}}, "ping_interval_seconds"),
    ],
)
def test_what_cannot_be(wrong, word):
    assert word in reasons(**wrong)


def test_several_servers():
    servers = settings(kafka={"bootstrap_servers": "a:9092, b:9092"}).kafka.bootstrap_servers
    assert servers == "a:9092,b:9092"
