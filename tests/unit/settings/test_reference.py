import yaml

from connector.settings.models import Settings
from connector.settings.paths import leaves
from connector.settings.reference import awaited, effective, markdown
from connector.settings.source import load

SECRET = "sesame-sesame"
ENVIRONMENT = {
    "KITE_ACCOUNTS": '[{"name": "a", "api_key": "sesame-sesame", "access_token_file": "/f"}]',
    "KITE_KAFKA__BOOTSTRAP_SERVERS": "a:1",
    "KITE_KAFKA__CLIENT": '{"sasl.oauthbearer.client.secret": "sesame-sesame", "client.rack": "z"}',
    "KITE_INSTRUMENTS": '[{"mode": "full", "instruments": ["NSE:NIFTY 50", 408065]}]',
}


def test_every_setting_is_in_the_reference():
    page = markdown()
    for path in leaves(Settings):
        assert f"| `{path[-1]}` |" in page, path
    assert "| `api_key` | secret | required |" in page
    assert "`PLAINTEXT`, `SSL`" in page
    assert "integer ≥ 1 ≤ 3000" in page


def test_every_setting_is_explained():
    for line in markdown().splitlines():
        if line.startswith("| `"):
            assert line.rstrip("| ").count("|") == 4, line


def test_what_applies_can_be_read_back():
    loaded = load(None, ENVIRONMENT)
    again = Settings.model_validate(yaml.safe_load(effective(loaded)))
    assert again.kafka.bootstrap_servers == "a:1"
    assert again.instruments == loaded.settings.instruments
    assert again.model_dump(exclude={"accounts", "kafka"}) == loaded.settings.model_dump(
        exclude={"accounts", "kafka"}
    )


def test_no_secret_is_shown():
    shown = effective(load(None, ENVIRONMENT))
    assert SECRET not in shown
    assert "api_key: '**********'  # KITE_ACCOUNTS" in shown
    assert "client.rack: z" in shown


def test_the_origin_is_shown(tmp_path):
    file = tmp_path / "kite.yaml"
    file.write_text("accounts:\n- api_key: k\nhttp:\n  port: 1234\n")
    shown = effective(load(file, {"KITE_KAFKA__BOOTSTRAP_SERVERS": "a:1"}))
    assert f"port: 1234  # {file}:4" in shown
    assert "bootstrap_servers: a:1  # KITE_KAFKA__BOOTSTRAP_SERVERS" in shown
    assert "linger_ms: 20.0\n" in shown


def test_what_a_start_waits_for_says_what_is_not_there_yet(tmp_path):
    token = tmp_path / "token"
    settings = Settings.model_validate(
        {
            "accounts": [{"name": "main", "api_key": "key", "access_token_file": token}],
            "registry": {"url": "mock://x"},
        }
    )
    kafka, waits = awaited(settings)
    assert kafka == "Kafka at localhost:9092"
    assert waits == f"today's token of account main in {token}, which is not there yet"
    token.write_text("a")
    assert awaited(settings)[1] == f"today's token of account main in {token}"
