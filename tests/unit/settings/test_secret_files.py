import pytest

from connector.errors import SettingsError
from connector.files import UnusableFileError
from connector.settings.models import Settings
from connector.settings.paths import leaves
from connector.settings.secret_files import MAX_SETTING_FILE_BYTES, fresh, read_setting
from connector.settings.source import load


def test_space_around_the_text_does_not_count(tmp_path):
    file = tmp_path / "password"
    file.write_text("  pass wörd\n")
    assert read_setting(file) == "pass wörd"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"one\ntwo", "holds a line break"),
        (b"\xef\xbb\xbfpassword", "control character"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"x" * (MAX_SETTING_FILE_BYTES + 1), "has more than 4096 bytes"),
    ],
)
def test_what_is_no_setting_says_why(tmp_path, content, reason):
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(UnusableFileError, match=reason):
        read_setting(file)


def test_what_was_read_before_stays_while_the_file_cannot_be_read(tmp_path):
    file = tmp_path / "password"
    assert fresh("before", None) == "before"
    assert fresh("before", file) == "before"
    file.write_text("after")
    assert fresh("before", file) == "after"


FILES = {
    ("accounts", 0, "api_key"): "key0",
    ("accounts", 0, "api_secret"): "secret0",
    ("kafka", "sasl_username"): "kite",
    ("kafka", "sasl_password"): "sesame-1",
    ("kafka", "ssl_key_password"): "sesame-2",
    ("registry", "username"): "reader",
    ("registry", "password"): "sesame-3",
}
BASE = {"KITE_KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "KITE_KAFKA__SASL_MECHANISM": "PLAIN"}


def variable(path):
    return "KITE_" + "__".join(map(str, path)).upper() + "_FILE"


@pytest.fixture
def environ(tmp_path):
    found = dict(BASE)
    for path, text in FILES.items():
        file = tmp_path / "-".join(map(str, path))
        file.write_text(f"{text}\n")
        found[variable(path)] = str(file)
    return found


def at(settings, path):
    for part in path:
        settings = settings[part] if isinstance(part, int) else getattr(settings, part)
    return settings.get_secret_value() if hasattr(settings, "get_secret_value") else settings


def test_each_setting_that_has_a_file_is_tested_here():
    every = set(leaves(Settings))
    pairs = {path for path in every if (*path[:-1], f"{path[-1]}_file") in every}
    # the token may come later, and is watched
    # those of tokens: tests/loopback/test_tokens.py, test_bearer_tokens.py; no login has both
    tokens = {(section, "oauth", "client_secret") for section in ("kafka", "registry")}
    assert pairs == {*FILES, ("accounts", 0, "access_token"), *tokens}


def test_settings_are_read_out_of_their_files(environ):
    loaded = load(environ=environ)
    assert {path: at(loaded.settings, path) for path in FILES} == FILES
    assert loaded.origins["kafka", "sasl_password"] == environ["KITE_KAFKA__SASL_PASSWORD_FILE"]


def test_a_file_of_settings_names_them_as_well(environ, tmp_path):
    file = tmp_path / "kite.yaml"
    file.write_text(f"accounts: [{{api_key_file: {environ['KITE_ACCOUNTS__0__API_KEY_FILE']}}}]")
    assert at(load(file, {}).settings, ("accounts", 0, "api_key")) == "key0"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path[-1])
def test_a_file_that_cannot_be_read_ends_the_start_with_its_setting(environ, path):
    environ[variable(path)] += "-not-there"
    with pytest.raises(SettingsError) as raised:
        load(environ=environ)
    (problem,) = raised.value.problems
    assert problem.name == ".".join(map(str, path)) + "_file"
    assert problem.reason.endswith("no such file")
    assert problem.origin == variable(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path[-1])
def test_both_the_setting_and_its_file_are_one_too_many(environ, path):
    environ[variable(path).removesuffix("_FILE")] = "given-0"
    with pytest.raises(SettingsError, match=f"give {path[-1]} or {path[-1]}_file, not both"):
        load(environ=environ)


def test_what_a_file_holds_is_in_no_error(environ):
    environ["KITE_GRACE_SECONDS"] = "sesame-1"
    with pytest.raises(SettingsError) as raised:
        load(environ=environ)
    assert "sesame" not in str(raised.value)


@pytest.mark.parametrize("wrong", [5, True, [], {}])
def test_a_path_that_is_none_is_told(tmp_path, wrong):
    file = tmp_path / "kite.yaml"
    file.write_text(f"accounts: [{{api_key_file: {wrong}}}]".lower())
    with pytest.raises(SettingsError, match=r"accounts\.0\.api_key_file: should be the path"):
        load(file, {})
