import signal
import subprocess
import sys

import pytest
import typer

from connector.cli import main, service
from connector.errors import BrokerUnreachableError
from connector.service.status import VERSION
from connector.service.trial import Finding
from connector.settings.models import Settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    import logging

    import structlog

    for name in ("KITE_ACCOUNTS", "KITE_CONNECTOR_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    on_signal = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, on_signal)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def kite(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["kite-connector", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run


def test_help_lists_the_commands(kite):
    code, out, _ = kite("--help")
    assert code == 0
    for command in ("run", "check-config", "settings", "demo", "simulate", "record", "tail"):
        assert f"  {command} " in out


@pytest.mark.parametrize(
    "command", ["run", "check-config", "demo", "simulate", "record", "tail", "schemas"]
)
def test_every_command_has_help(kite, command):
    code, out, _ = kite(command, "--help")
    assert code == 0
    assert "Traceback" not in out


def test_version(kite):
    code, out, _ = kite("version")
    assert code == 0
    assert out.startswith(f"kite-connector {VERSION} (")


def test_a_stop_while_it_imports_is_a_clean_end_wherever_python_is():
    """What is raised while a class is made comes out as a RuntimeError, up to Python 3.11."""
    code = """
import os, signal
from connector.cli.service import _end_clean_at_sigterm
_end_clean_at_sigterm()
class Stop:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGTERM)
class Made:
    field = Stop()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_settings_prints_the_reference(kite):
    assert kite("settings")[1].startswith("# Settings\n")


def test_check_config_prints_what_applies(kite, monkeypatch):
    monkeypatch.setenv("KITE_ACCOUNTS__0__API_KEY", "sesame-sesame")
    code, out, err = kite("check-config")
    assert (code, err) == (0, "")
    assert "bootstrap_servers: localhost:9092\n" in out
    assert "sesame" not in out
    assert out.endswith(
        "# a start waits for these, alive and not ready:\n"
        "#   Kafka at localhost:9092\n"
        "#   the schema registry at http://localhost:8081\n"
    )


@pytest.mark.parametrize("command", ["check-config", "run"])
def test_wrong_settings_are_explained_without_a_traceback(kite, monkeypatch, command):
    monkeypatch.setenv("KITE_KAFKA__LINGER_MS", "soon")
    monkeypatch.setenv("KITE_KAFKA__COMPRESION", "lz4")
    code, out, err = kite(command)
    assert (code, out) == (2, "")
    assert err == (
        "kite-connector: wrong settings:\n"
        "  KITE_KAFKA__COMPRESION: no such setting; did you mean KITE_KAFKA__COMPRESSION?"
        " (environment)\n"
        "  accounts: at least one is required; set KITE_ACCOUNTS__0__API_KEY\n"
        "  kafka.linger_ms: should be a number, not 'soon' (KITE_KAFKA__LINGER_MS)\n"
    )


def test_check_config_knows_what_librdkafka_refuses(kite, monkeypatch):
    monkeypatch.setenv("KITE_ACCOUNTS__0__API_KEY", "sesame-sesame")
    monkeypatch.setenv("KITE_KAFKA__CLIENT", '{"no.such.property": 1}')
    code, out, err = kite("check-config")
    assert (code, out) == (2, "")
    assert 'No such configuration property: "no.such.property"' in err


def test_run_returns_what_the_service_came_to(kite, monkeypatch):
    monkeypatch.setenv("KITE_ACCOUNTS__0__API_KEY", "sesame-sesame")
    seen = []

    def run_service(settings, mask, *, beside):
        assert beside is None, "there is no terminal"
        seen.append(settings)
        assert mask.clean("sesame-sesame") == "***"
        return 3

    monkeypatch.setattr("connector.service.process.run_service", run_service)
    assert kite("run", "--log-format", "json", "--log-level", "error")[0] == 3
    assert len(seen) == 1


def test_a_file_that_is_not_there(kite):
    code, _, err = kite("run", "--config", "/none.yaml")
    assert code == 2
    assert "--config: cannot read /none.yaml" in err


def test_usage_errors(kite):
    assert kite("run", "--nonsense")[0] == 2
    assert kite("nonsense")[0] == 2


def test_a_broker_that_is_away_is_one_line(kite, monkeypatch):
    def tail(*_, **__):
        import structlog

        structlog.get_logger().debug("chatter of a library")
        raise BrokerUnreachableError("127.0.0.1:9", "refused")

    monkeypatch.setattr("connector.kafka.tail.tail", tail)
    code, out, err = kite("tail", "nse")
    assert (code, out) == (1, "")
    assert err == "kite-connector: no Kafka broker answers at 127.0.0.1:9: refused\n"


def test_a_signal_before_the_service_listens_ends_it_clean(tmp_path):
    config = tmp_path / "kite.yaml"
    config.write_text("accounts: [{api_key: k, access_token: t}]\n")
    code = f"""
import signal, sys
import connector.service.process as process
from connector.cli import main
def asked_to_end(settings, mask, beside):
    signal.raise_signal(signal.SIGTERM)
    sys.exit("it went on")
process.run_service = asked_to_end
sys.argv = ["kite-connector", "run", "--config", {str(config)!r}]
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_what_is_tried_decides_of_the_exit_code_though_nobody_reads_it_any_more(monkeypatch):
    """As `check-config --connect | head -1` does."""
    tried = []

    async def trial(_settings):
        for ok in (True, False):
            tried.append(ok)
            yield Finding("brokers", ok, "as they are")

    def gone(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("connector.service.trial.trial", trial)
    monkeypatch.setattr(typer, "echo", gone)
    with pytest.raises(typer.Exit) as ended:
        service._try(Settings.model_validate({"accounts": [{"api_key": "key"}]}))
    assert (tried, ended.value.exit_code) == ([True, False], 1)
