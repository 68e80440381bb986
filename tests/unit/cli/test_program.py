"""The program as a process: what it answers to wrong words, a reader that left, a shell."""

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from connector import cli
from connector.cli.ctl import MAX_INPUT_BYTES
from connector.cli.program import UsageError, run

PROGRAM = [sys.executable, "-m", "connector"]


def ended(*words, **given):
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **given}
    return subprocess.run([*PROGRAM, *words], text=True, check=False, timeout=60, **given)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["schema"], "Did you mean 'schemas'?"),
        (["run", "--nonsense"], "No such option: --nonsense"),
        (["demo", "--replicas", "0"], "'--replicas'"),
        (["ctl", "reconnect"], "'SLOT'"),
        (["ctl", "set-mode", "best"], "'MODE'"),
        (["ctl", "subscribe", "--timeout", "inf", "NSE:A"], "'--timeout'"),
    ],
)
def test_wrong_words_are_one_line_that_names_them(words, names):
    with pytest.raises(UsageError) as caught:
        run(words)
    text = str(caught.value)
    assert names in text
    assert "\n" not in text
    assert "--help" in text


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (
            ["nonsense"],
            2,
            "kite-connector: No such command 'nonsense'. Try kite-connector --help\n",
        ),
        (
            ["ctl", "subscribe", "-f", "/none"],
            2,
            "kite-connector: --file /none: cannot be read: no such file\n",
        ),
        (
            ["ctl", "subscribe", "INFY", "NSE:A", "0"],
            2,
            (
                "kite-connector: INFY, 0: must be an instrument token (1 to 4294967295) or "
                "EXCHANGE:TRADINGSYMBOL\n"
            ),
        ),
        (
            ["ctl", "delete", "-x-"],
            2,
            (
                "kite-connector: ctl delete: No such option: -x. "
                "Try kite-connector ctl delete --help\n"
            ),
        ),
        (
            ["tail", "-b", "kafka"],
            2,
            "kite-connector: kafka.bootstrap_servers: 'kafka' must be host:port (--bootstrap)\n",
        ),
        (["tail", "nasdaq"], 2, None),
        (["schemas", "print", "trade"], 2, None),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(words, code, error):
    result = ended(*words, stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.count("\n") == 1
    assert error is None or result.stderr == error


@pytest.mark.parametrize("size", ["0", "00", "²", "-5", "", "wide"])
def test_a_width_that_is_none_is_the_terminals(monkeypatch, size):
    monkeypatch.setenv("COLUMNS", size)
    cli._forget_no_width()
    assert Console(file=io.StringIO()).width > 0


def test_a_width_is_the_users(monkeypatch):
    monkeypatch.setenv("COLUMNS", "47")
    cli._forget_no_width()
    assert Console(file=io.StringIO()).width == 47


def test_a_number_without_end_is_one_line():
    result = ended("ctl", "subscribe", "1" * 5000, stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout) == (2, "")
    assert "must be an instrument token" in result.stderr
    assert result.stderr.count("\n") == 1


def test_instruments_that_are_not_text_are_one_line():
    result = subprocess.run(
        [*PROGRAM, "ctl", "subscribe", "-"],
        input=b"NSE:\xff\n", capture_output=True, check=False, timeout=60,
        env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert result.returncode == 2
    # Python reads standard input of a locale without UTF-8 in another way
    assert result.stderr.decode().count("\n") == 1


def test_a_file_of_one_endless_line_is_told_by_its_beginning(tmp_path):
    file = tmp_path / "zeros"
    file.write_bytes(bytes(1_000_000))
    result = ended("ctl", "subscribe", "--file", str(file))
    assert result.returncode == 2
    assert "(1000000 characters): must be an instrument token" in result.stderr
    assert len(result.stderr) < 500


def test_a_file_without_end_is_not_read(tmp_path):
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(MAX_INPUT_BYTES + 1)
    result = ended("ctl", "subscribe", "-f", str(huge), stdin=subprocess.DEVNULL)
    assert result.returncode == 2
    assert result.stderr == (
        f"kite-connector: --file {huge}: cannot be read: has more than {MAX_INPUT_BYTES} bytes\n"
    )
    with huge.open("rb") as file:
        result = ended("ctl", "subscribe", "-", stdin=file)
    assert result.returncode == 2
    assert result.stderr == (
        f"kite-connector: standard input: cannot be read: has more than {MAX_INPUT_BYTES} bytes\n"
    )
    device = ended("ctl", "subscribe", "-f", "/dev/zero", stdin=subprocess.DEVNULL)
    assert device.stderr == (
        "kite-connector: --file /dev/zero: cannot be read: is a device, not a file\n"
    )


def test_no_words_show_the_help():
    result = ended()
    assert result.returncode == 2
    assert "Commands:" in result.stderr + result.stdout


@pytest.mark.parametrize(
    "words", [["settings"], ["--help"], ["ctl", "--help"], ["schemas", "list"]]
)
def test_a_reader_that_left_is_no_error(words):
    read, write = os.pipe()
    os.close(read)
    result = ended(*words, stdout=write)
    os.close(write)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_reader_that_left_does_not_change_what_was_found_out(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as gone:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", gone)
        monkeypatch.setattr(cli, "_command", lambda: gone.write("found") and 3)
        assert cli._run() == 3


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "é ₹ 𝄞".encode()), ("latin-1", b"\xe9 \\u20b9 \\ud834\\udd1e"),
     ("ascii:strict", b"\\u00e9 \\u20b9 \\ud834\\udd1e")],
)  # fmt: skip
def test_what_the_terminals_encoding_lacks_is_escaped_as_in_json(encoding, shown):
    code = (
        "import connector.cli as cli\n"
        "cli._command = lambda: print('é ₹ 𝄞', end='') or 0\n"
        "cli.main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=60, capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (0, shown, b"")


def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        result = ended("settings", stdout=full)
    assert result.returncode == 1
    assert result.stderr == "kite-connector: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["version"]])
def test_the_version_is_printed_in_each_way(words):
    import connector

    result = ended(*words)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"kite-connector {connector.__version__} (")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(shell):
    result = ended(env={**os.environ, "_KITE_CONNECTOR_COMPLETE": f"source_{shell}"})
    assert result.returncode == 0
    assert f"_KITE_CONNECTOR_COMPLETE=complete_{shell}" in result.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("kite-connector ", "check-config"),
        ("kite-connector ctl ", "set-mode"),
        ("kite-connector ctl subscribe --wat", "--watchlist"),
    ],
)
def test_the_shell_is_told_what_could_come_next(words, found):
    variables = {
        "_KITE_CONNECTOR_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    result = ended(env={**os.environ, **variables})
    assert found in result.stdout.split()
