import pytest
import yaml

from connector.errors import SettingsError
from connector.settings import source
from connector.settings.models import Settings
from connector.settings.reference import effective
from connector.settings.source import is_secret, leaves, load, name_of, variable_of

KEY = {"KITE_ACCOUNTS__0__API_KEY": "k"}


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "kite.yaml"
        path.write_text(text)
        return path

    return write


def problems(file=None, environ=None):
    with pytest.raises(SettingsError) as caught:
        load(file, environ if environ is not None else KEY)
    return [str(problem) for problem in caught.value.problems]


def test_the_environment_alone():
    assert load(None, KEY).settings.accounts[0].api_key.get_secret_value() == "k"


def test_the_environment_wins_over_the_file(file):
    path = file("accounts:\n- api_key: f\nkafka:\n  bootstrap_servers: a:1\n  linger_ms: 7\n")
    loaded = load(path, {"KITE_KAFKA__BOOTSTRAP_SERVERS": "b:2"})
    assert loaded.settings.kafka.bootstrap_servers == "b:2"
    assert loaded.settings.kafka.linger_ms == 7
    assert loaded.origins["kafka", "bootstrap_servers"] == "KITE_KAFKA__BOOTSTRAP_SERVERS"
    assert loaded.origins["kafka", "linger_ms"] == f"{path}:5"


def test_a_variable_names_the_file(file):
    path = file("name: from-file\n")
    assert load(None, {**KEY, "KITE_CONNECTOR_CONFIG": str(path)}).settings.name == "from-file"


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_is_no_mistake(file, text):
    assert load(file(text), KEY).settings.name == "kite-connector"


def test_lists_are_json_or_numbered():
    loaded = load(
        None,
        {
            "KITE_ACCOUNTS": '[{"name": "a", "api_key": "1"}]',
            "KITE_ACCOUNTS__1__NAME": "b",
            "KITE_ACCOUNTS__1__API_KEY": "2",
            "KITE_INSTRUMENTS": '[{"mode": "full", "instruments": [408065, "NSE:SBIN"]}]',
            "KITE_KAFKA__CLIENT": '{"socket.timeout.ms": 5000}',
        },
    ).settings
    assert [account.name for account in loaded.accounts] == ["a", "b"]
    assert loaded.instruments[0].instruments == (408065, "NSE:SBIN")
    assert loaded.kafka.client == {"socket.timeout.ms": 5000}


def test_what_looks_like_a_number_may_be_a_secret():
    loaded = load(None, {"KITE_ACCOUNTS__0__API_KEY": "0123"}).settings
    assert loaded.accounts[0].api_key.get_secret_value() == "0123"


def test_empty_is_not_given():
    assert load(None, {**KEY, "KITE_KAFKA__BOOTSTRAP_SERVERS": " "}).settings == (
        load(None, KEY).settings
    )


def test_null_is_none_where_it_may_be():
    loaded = load(None, {**KEY, "KITE_REGISTRY__COMPATIBILITY": "null"}).settings
    assert loaded.registry.compatibility is None


def test_an_unknown_variable_stops_the_start():
    (text,) = problems(None, {**KEY, "KITE_KAFKA__BOOTSTRAP_SERVER": "a:1"})
    assert text == (
        "KITE_KAFKA__BOOTSTRAP_SERVER: no such setting; "
        "did you mean KITE_KAFKA__BOOTSTRAP_SERVERS? (environment)"
    )


def test_what_kubernetes_adds_is_passed_over():
    linked = {
        "KITE_CONNECTOR_SERVICE_HOST": "10.0.0.1",
        "KITE_CONNECTOR_SERVICE_PORT": "8090",
        "KITE_CONNECTOR_SERVICE_PORT_HTTP": "8090",
        "KITE_CONNECTOR_PORT": "tcp://10.0.0.1:8090",
        "KITE_CONNECTOR_PORT_8090_TCP": "tcp://10.0.0.1:8090",
        "KITE_CONNECTOR_PORT_8090_TCP_ADDR": "10.0.0.1",
    }
    load(None, {**KEY, **linked})


def test_a_misspelt_port_is_not_taken_for_kubernetes():
    assert problems(None, {**KEY, "KITE_HTP__PORT": "8090"})


def test_unknown_in_the_file_names_line_and_neighbour(file):
    path = file("accounts:\n- api_key: k\nkafka:\n  bootstrap_server: a:1\n")
    (text,) = problems(path, {})
    assert text == (
        f"kafka.bootstrap_server: no such setting; did you mean bootstrap_servers? ({path}:4)"
    )


def test_every_problem_is_named_at_once(file):
    path = file("http:\n  port: many\ntopics:\n  prefix: '/'\ninstruments:\n- instruments: [1.5]\n")
    texts = problems(path, {})
    assert len(texts) == 4
    assert any(
        text.startswith("accounts: at least one") and "KITE_ACCOUNTS" in text for text in texts
    )
    assert any(text.startswith("http.port: ") and "'many'" in text for text in texts)
    assert any(text.startswith("instruments.0.instruments.0: ") for text in texts)


def test_the_origin_of_a_value_in_the_environment_is_the_variable():
    (text,) = problems(None, {**KEY, "KITE_HTTP__PORT": "many"})
    assert text.startswith("http.port: ")
    assert text.endswith("(KITE_HTTP__PORT)")


def test_no_secret_is_in_an_explanation(file):
    path = file("accounts:\n- api_key: [sesame]\n  api_secret: {a: sesame}\n  nonsense: sesame\n")
    texts = problems(path, {})
    assert len(texts) == 3
    assert "sesame" not in str(texts)


def test_a_gap_in_a_list():
    (text,) = problems(None, {**KEY, "KITE_ACCOUNTS__2__API_KEY": "x"})
    assert "there is no KITE_ACCOUNTS__1" in text


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("- a\n", "must be a mapping"),
        ("a: [\n", "not YAML"),
        ("name: a\nname: b\n", "stands twice"),
        ("kafka: 5\n", "kafka"),
    ],
)
def test_files_that_are_no_settings(file, text, word):
    assert word in str(problems(file(text)))


def test_a_yaml_error_quotes_no_line(file):
    assert "sesame" not in str(problems(file("accounts:\n- api_key: 'sesame\n")))


def test_a_file_that_is_not_there(tmp_path):
    assert "cannot read" in str(problems(tmp_path / "none.yaml"))


def test_bytes_are_no_settings(tmp_path):
    path = tmp_path / "kite.yaml"
    path.write_bytes(b"\xff\xfe")
    assert "not a text file" in str(problems(path))


def test_something_in_a_scalar(file):
    (text,) = problems(file("kafka: 5\n"), {**KEY, "KITE_KAFKA__LINGER_MS": "5"})[:1]
    assert "kafka cannot hold it" in text


def test_every_setting_has_one_name():
    names = [variable_of(path) for path in leaves(Settings)]
    assert len(set(names)) == len(names)
    assert "KITE_ACCOUNTS__0__API_KEY" in names
    assert "KITE_CONNECTION__PING_INTERVAL" in names
    assert {name_of(path) for path in leaves(Settings) if is_secret(path)} == {
        "accounts.0.api_key",
        "accounts.0.api_secret",
        "accounts.0.access_token",
        "kafka.sasl_password",
        "kafka.ssl_key_password",
        "registry.password",
    }


def test_a_time_of_day_needs_no_quotes(file):
    loaded = load(file("instrument_master:\n  refresh_at: 12:35\n"), KEY)
    assert loaded.settings.instrument_master.refresh_at == "12:35"


def test_who_only_reads_kafka_needs_no_account():
    loaded = load(None, {"KITE_KAFKA__BOOTSTRAP_SERVERS": "a:1"}, accounts_required=False)
    assert loaded.settings.kafka.bootstrap_servers == "a:1"


def test_a_list_of_the_whole_market_is_read_as_any_other(file):
    instruments = [*(n << 8 | 1 for n in range(1, 3000)), "NSE:INFY", "NSE:NIFTY 50", "0x101"]
    lines = "".join(f"      - {one}\n" for one in instruments)
    text = f"instruments:\n  - mode: full\n    instruments:\n{lines}"
    path = file(text)
    loaded = load(path, KEY)
    assert loaded.settings.instruments[0].instruments == (*instruments[:-1], 257)
    at = text.splitlines().index("      - 769") + 1
    assert loaded.origins["instruments", 0, "instruments", 2] == f"{path}:{at}"
    # what check-config prints is the same again
    (again,) = [line for line in effective(loaded).splitlines() if "instruments: [" in line]
    assert yaml.safe_load(again.partition("instruments: ")[2]) == [*instruments[:-1], 257]


@pytest.mark.parametrize("text", ["08", "0o17", "0b1", "1_0", "12:30", "1e3", "+5", "NO", "null"])
def test_scalars_are_what_yaml_says_they_are(file, text):
    path = file(f"x: [{text}, {text}:NSE, 'NSE:{text}']\n")
    origins, problems = {}, []
    assert source._read_file(path, origins, problems) == yaml.safe_load(path.read_text())
