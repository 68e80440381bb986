import contextlib
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from connector.errors import SettingsError
from connector.settings import source
from connector.settings.models import Settings
from connector.settings.paths import item_of, model_of
from connector.settings.reference import effective
from connector.settings.source import FORMS, MAX_PROBLEMS, load
from tests.support.echoes import longest_in_common

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


@pytest.mark.parametrize("text", ["08", "0o17", "0b1", "1_0", "1e3", "+5", "NO", "null"])
def test_scalars_are_what_yaml_says_they_are(file, text):
    path = file(f"x: [{text}, {text}:NSE, 'NSE:{text}']\n")
    origins, problems = {}, []
    assert source._read_file(path, origins, problems) == yaml.safe_load(path.read_text())


class TestFilesThatDoHarm:
    @pytest.mark.parametrize(
        ("text", "line", "reason"),
        [
            ("kafka: " + "[" * 3000, 1, "nested more than 20 deep"),
            ("kafka: " + "{a: " * 3000, 1, "nested more than 20 deep"),
            ("\n".join(" " * n + f"k{n}:" for n in range(3000)), 21, "nested more than 20 deep"),
            ("name: x\nkafka: &all\n  client: *all\n", 3, "an alias to what it is part of"),
            ("name: x\nkafka: &all {<<: *all}\n", 2, "an alias to what it is part of"),
            ("name: *nobody\n", 1, "alias"),
            ("a: 1\nkafka:\n\tlinger_ms: 1\n", 3, "cannot start any token"),
            ("name: x\nspool:\n  max_mib: 2026-13-45\n", 3, "not a value of the kind timestamp"),
            ("name: x\n? [a, b]\n: 1\n", 2, "a key must be a name"),
            ("name: !!python/object:os.system {}\n", 1, "a tag that is not known here"),
            ("name: a\n---\nname: b\n", 2, "more than one document"),
            ("name: x\nkafka: \x07\n", 2, "control characters are not allowed"),
        ],
    )
    def test_each_is_told_with_its_line(self, file, text, line, reason):
        path = file(text)
        (problem, *_) = problems(path)
        assert reason in problem
        assert f"({path}:{line})" in problem

    def test_bytes_of_another_encoding_are_told_with_their_line(self, tmp_path):
        path = tmp_path / "kite.yaml"
        path.write_bytes("name: a\n# für später\n".encode("latin-1"))
        assert problems(path) == [f"--config: is not a text file in UTF-8 ({path}:2)"]
        path.write_bytes(b"\xef\xbb\xbfname: a\n")
        assert load(path, KEY).settings.name == "a"

    def test_aliases_that_grow_are_stopped(self, file):
        lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
        for n in range(1, 10):
            lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]")  # noqa: PERF401
        assert "more than 1000000 values" in problems(file("\n".join(lines)))[0]

    def test_aliases_and_merged_mappings_that_do_not_are_read(self, file):
        path = file(
            "instruments:\n- mode: full\n  instruments: &some [408065]\n"
            "- {mode: ltp, instruments: *some}\n"
            "kafka: &k {linger_ms: 7}\nspool:\n  <<: [{max_mib: 8}]\n  directory: /s\n"
        )
        settings = load(path, KEY).settings
        assert [group.instruments for group in settings.instruments] == [(408065,), (408065,)]
        assert (settings.spool.max_mib, str(settings.spool.directory)) == (8, "/s")

    def test_an_alias_is_a_copy_that_a_variable_changes_alone(self, file):
        login = "token_url: https://login.example.com/t, client_secret: hush-hush"
        path = file(
            "accounts: [{api_key: key-one}]\n"
            "kafka:\n"
            "  security_protocol: SASL_SSL\n"
            "  sasl_mechanism: OAUTHBEARER\n"
            f"  oauth: &login {{{login}, client_id: ours}}\n"
            "registry: {url: https://registry.example.com, oauth: *login}\n"
        )
        settings = load(path, {"KITE_REGISTRY__OAUTH__CLIENT_ID": "theirs"}).settings
        assert settings.kafka.oauth.client_id == "ours"
        assert settings.registry.oauth.client_id == "theirs"

    def test_an_alias_may_name_a_file_with_a_secret(self, file, tmp_path):
        secret = tmp_path / "secret"
        secret.write_text("hush-hush\n")
        path = file(
            "accounts: [{api_key: key-one}]\n"
            "kafka:\n"
            "  security_protocol: SASL_SSL\n"
            "  sasl_mechanism: OAUTHBEARER\n"
            "  oauth: &login {token_url: https://login.example.com/t, client_id: ours,\n"
            f"    client_secret_file: {secret}}}\n"
            "registry: {url: https://registry.example.com, oauth: *login}\n"
        )
        settings = load(path, {}).settings
        for oauth in (settings.kafka.oauth, settings.registry.oauth):
            assert oauth.client_secret.get_secret_value() == "hush-hush"

    def test_more_problems_than_can_be_told_are_counted(self, file):
        path = file("".join(f"unknown{number}: 1\n" for number in range(MAX_PROBLEMS + 20)))
        told = problems(path)
        assert len(told) == MAX_PROBLEMS + 1
        assert told[-1] == "settings: 20 more are wrong"

    @pytest.mark.parametrize("name", ["INSTRUMENTS", "KAFKA__CLIENT", "ACCOUNTS", "HTTP"])
    def test_bytes_in_a_variable_that_are_no_text_are_a_reason(self, name):
        told = problems(environ={**KEY, f"KITE_{name}": "[\udcff]"})
        setting = name.lower().replace("__", ".")
        assert f"{setting}: must be JSON: is not UTF-8 (KITE_{name})" in told

    @pytest.mark.parametrize(
        ("one", "other"),
        [("KITE_NAME", "KITE_Name"), ("KITE_ACCOUNTS__00__API_KEY", "KITE_ACCOUNTS__0__API_KEY")],
    )
    def test_two_variables_of_one_setting_are_refused(self, one, other):
        (told,) = problems(environ={**KEY, one: "one", other: "other"})
        assert told.endswith(f"is given by {one} too ({other})")

    @pytest.mark.parametrize(
        "text",
        [
            "http: {port: yes}",
            "grace_seconds: on",
            "spool: {max_mib: true}",
            "connection: {max_reconnect_attempts: no}",
            "accounts: [{api_key: key-one, connections: yes}]",
        ],
    )
    def test_yes_is_no_number(self, file, text):
        (told,) = problems(file(f"{text}\n"), {} if "accounts" in text else KEY)
        assert "should be a number; YAML reads yes" in told

    def test_a_huge_file_is_not_read(self, tmp_path):
        with (tmp_path / "huge.yaml").open("wb") as huge:
            huge.truncate(2**40)
        assert "has more than 16777216 bytes" in problems(tmp_path / "huge.yaml")[0]

    def test_what_is_no_file_is_named(self, tmp_path):
        assert "is a directory, not a file" in problems(tmp_path)[0]
        assert "is a device, not a file" in problems(Path("/dev/zero"))[0]

    def test_a_long_variable_is_not_read(self):
        (problem,) = problems(environ={**KEY, "KITE_NAME": "x" * (128 * 1024 + 1)})
        assert (
            problem == "KITE_NAME: has more than 131072 characters: give it in a file (environment)"
        )

    @pytest.mark.parametrize("place", ["\u00b2", "\u0663", "1" * 5000, "-1"])
    def test_what_is_no_place_in_a_list_is_no_setting(self, place):
        (problem,) = problems(environ={**KEY, f"KITE_ACCOUNTS__{place}__API_KEY": "k"})
        assert problem.startswith("KITE_ACCOUNTS__")
        assert "no such setting" in problem

    def test_a_number_without_end_is_a_reason(self, file):
        (problem,) = problems(file(f"http:\n  port: 0x{'f' * 6000}\n"))
        assert "a number of more than 300 characters" in problem

    @pytest.mark.parametrize("text", ["[" * 3000, "&a [*a]", "{a: 1}}", "- - \t:"])
    def test_json_of_the_environment_is_bounded_as_well(self, text):
        (problem, *_) = problems(environ={**KEY, "KITE_KAFKA__CLIENT": text})
        assert problem.startswith("kafka.client: must be JSON: ")


class TestSecretsInTheWrongPlace:
    SECRET = "a3Vq9Lx0Zr7Tb2Nf5Wc8Yh1Kd4Pj6Gs0"

    @pytest.mark.parametrize(
        "variable",
        [
            "KITE_NAME", "KITE_KAFKA__BOOTSTRAP_SERVERS", "KITE_KAFKA__SECURITY_PROTOCOL",
            "KITE_KAFKA__LINGER_MS", "KITE_FEED__ROOT", "KITE_FEED__REST", "KITE_REGISTRY__URL",
            "KITE_TOPICS__PREFIX", "KITE_TOPICS__CREATE", "KITE_HTTP__PORT", "KITE_INSTRUMENTS",
            "KITE_ACCOUNTS__0__NAME", "KITE_KAFKA__CLIENT", "KITE_LOGGING__LEVEL",
            "KITE_INSTRUMENT_MASTER__REFRESH_AT",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize(
        "shape", ["{}", "ws://u:{}@host", "{}:9092:x", "https://{}/ ?{}", "-{}"]
    )
    def test_an_error_repeats_its_beginning_at_most(self, variable, shape):
        environ = {**KEY, variable: shape.format(self.SECRET, self.SECRET)}
        with contextlib.suppress(SettingsError):  # some take any text
            shown = str(load(None, environ).origins)
        with contextlib.suppress(AssertionError, pytest.fail.Exception):
            shown = str(problems(environ=environ))
        assert longest_in_common(shown, self.SECRET) <= 12

    def test_one_that_is_known_is_not_repeated_at_all(self, file):
        path = file(
            f"accounts:\n- api_key: {self.SECRET}\n  name: {self.SECRET}\n{self.SECRET}: 1\n"
        )
        assert longest_in_common(str(problems(path, {})), self.SECRET) < 8

    @pytest.mark.parametrize("name", ["sasl_pasword", "apikey_secret", "token"])
    def test_under_the_name_of_a_secret_nothing_is_repeated(self, file, name):
        shown = problems(file(f"kafka:\n  linger_ms: {self.SECRET}\n  {name}: {self.SECRET}\n"))
        assert longest_in_common(str(shown), self.SECRET) < 8

    def test_names_that_are_none_are_cut(self, file):
        shown = problems(file(f"kafka:\n  {'x' * 5000}: 1\n"), {**KEY, "KITE_" + "Y" * 5000: "1"})
        assert all(len(problem) < 300 for problem in shown)


class TestText:
    def test_space_around_it_does_not_count(self, file):
        loaded = load(
            file("name: '  a  '\nkafka:\n  client: {client.rack: ' b\n'}\n"),
            {
                "KITE_ACCOUNTS__0__API_KEY": "key\n",
                "KITE_ACCOUNTS__0__ACCESS_TOKEN": " token\r\n",
                "KITE_KAFKA__BOOTSTRAP_SERVERS": " k-1:9092 , k-2:9092\n",
                "KITE_REGISTRY__URL": "\thttp://registry:8081\n",
                "KITE_REGISTRY__USERNAME": "user\n",
                "KITE_REGISTRY__PASSWORD": "pass word\n",
                "KITE_HTTP__PORT": " 8091\n",
            },
        ).settings
        account = loaded.accounts[0]
        assert account.api_key.get_secret_value() == "key"
        assert account.access_token.get_secret_value() == "token"
        assert loaded.kafka.bootstrap_servers == "k-1:9092,k-2:9092"
        assert loaded.registry.url == "http://registry:8081"
        assert (loaded.registry.username, loaded.registry.password.get_secret_value()) == (
            "user", "pass word",
        )  # fmt: skip
        assert (loaded.name, loaded.http.port) == ("a", 8091)
        assert loaded.kafka.client == {"client.rack": "b"}

    @pytest.mark.parametrize(
        "variable",
        [
            "KITE_ACCOUNTS__0__API_KEY", "KITE_ACCOUNTS__0__ACCESS_TOKEN",
            "KITE_ACCOUNTS__0__ACCESS_TOKEN_FILE", "KITE_ACCOUNTS__0__NAME", "KITE_NAME",
            "KITE_FEED__ROOT", "KITE_KAFKA__BOOTSTRAP_SERVERS", "KITE_KAFKA__SASL_USERNAME",
            "KITE_KAFKA__SASL_PASSWORD", "KITE_REGISTRY__URL", "KITE_REGISTRY__PASSWORD",
            "KITE_SPOOL__DIRECTORY", "KITE_HTTP__HOST", "KITE_TOPICS__PREFIX",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize(
        "unfit", ["\r\n", "\n", "\x1b", "\u200b", "\u202e", "\ufeff", "\udcff"]
    )
    def test_what_nobody_sees_is_refused_with_the_settings_name(self, variable, unfit):
        shown = problems(environ={**KEY, variable: f"http://a{unfit}b:1"})
        name = variable.removeprefix("KITE_").lower().replace("__", ".")
        assert any(
            problem.startswith(f"{name}: holds the ") and f"U+{ord(unfit[0]):04X}" in problem
            for problem in shown
        ), shown

    @pytest.mark.parametrize("key", ["two words", "käy", '"key"'])
    def test_an_api_key_is_one_word(self, key):
        (problem,) = problems(environ={"KITE_ACCOUNTS__0__API_KEY": key})
        assert problem.startswith("accounts.0.api_key: holds ")


class TestClearText:
    def test_to_a_public_host_it_ends_the_start_unless_it_is_meant(self):
        environ = {**KEY, "KITE_FEED__ROOT": "ws://feed.example.com"}
        (problem,) = problems(environ=environ)
        assert problem.startswith(
            "feed.root: sends the access_token unencrypted to feed.example.com"
        )
        assert "allow_insecure" in problem
        assert load(None, {**environ, "KITE_ALLOW_INSECURE": "true"}).settings.allow_insecure

    def test_within_a_cluster_it_does_not(self):
        load(None, {**KEY, "KITE_FEED__ROOT": "ws://simulator:8765"})


def patterned(model=Settings, path=()):
    """Names of all settings that have to match a pattern."""
    for name, field in model.model_fields.items():
        annotation = item_of(field.annotation) or field.annotation
        inner = model_of(annotation) or model_of(field.annotation)
        if inner is not None and issubclass(inner, BaseModel):
            yield from patterned(inner, (*path, name))
        elif any(getattr(one, "pattern", None) for one in field.metadata):
            yield ".".join((*path, name))


def test_every_pattern_is_told_in_words():
    assert set(patterned()) == set(FORMS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("accounts: 5", "accounts: should be a list, not 5"),
        ("instruments: {a: 1}", "instruments: should be a list"),
        ("kafka: {client: [1]}", "kafka.client: should be names with values"),
        ("spool: {max_mib: lots}", "spool.max_mib: should be a whole number, not 'lots'"),
        ("cluster: {enabled: maybe}", "cluster.enabled: should be true or false, not 'maybe'"),
        ("grace_seconds: soon", "grace_seconds: should be a number, not 'soon'"),
        ("name: two words", "name: should be 1 to 80 letters, digits, or . _ -, not 'two words'"),
        (
            "instrument_master: {refresh_at: noon}",
            "instrument_master.refresh_at: should be a time of day such as 08:35, not 'noon'",
        ),
    ],
)
def test_a_wrong_value_is_told_in_words(tmp_path, text, reason):
    file = tmp_path / "kite.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(file, {"KITE_ACCOUNTS__0__API_KEY": "k"} if "accounts" not in text else {})
    assert reason in str(raised.value)
