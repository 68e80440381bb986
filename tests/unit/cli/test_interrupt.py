"""Ctrl-C, given to real processes at moments that they choose themselves."""

import signal
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "connector"]
# a Ctrl-C in the middle of the import of a module
AT_IMPORT = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()  # the end comes from another thread

sys.meta_path.insert(0, Interrupt())
sys.argv = ["kite-connector", *{words!r}]
from connector.cli import main
main()
"""


def run(code, **given):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **given,
    )


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("typer", ["--help"]),
        ("connector.errors", ["version"]),
        ("connector.cli.ctl", ["--help"]),
        ("pydantic", ["ctl", "--help"]),
        ("yaml", ["check-config"]),
        ("confluent_kafka", ["ctl", "status"]),
        ("structlog", ["tail"]),
        ("connector.service.service", ["run"]),
        ("connector.simulator.simulator", ["simulate"]),
    ],
)
def test_ctrl_c_ends_it_while_it_imports(module, words, monkeypatch):
    monkeypatch.setenv("KITE_ACCOUNTS__0__API_KEY", "k")
    ended = run(AT_IMPORT.format(module=module, words=words))
    assert (ended.returncode, ended.stderr) == (130, "")


def test_a_handler_of_the_commands_own_has_the_signal():
    code = """
import os, signal
from connector.cli import interrupt
interrupt.end_at_ctrl_c()
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append("own"))
os.kill(os.getpid(), signal.SIGINT)
interrupt.end_at_ctrl_c()
os.kill(os.getpid(), signal.SIGINT)
print(*seen)
"""
    ended = run(code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "own own\n", "")


def test_it_guards_again_when_a_loop_has_put_back_pythons_handler():
    code = """
import asyncio, os, signal
from connector.cli import interrupt
interrupt.end_at_ctrl_c()
async def loop_with_a_handler():
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, print)
asyncio.run(loop_with_a_handler())
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
interrupt.end_at_ctrl_c()
os.kill(os.getpid(), signal.SIGINT)
signal.pause()
"""
    ended = run(code)
    assert (ended.returncode, ended.stderr) == (130, "")


def test_a_call_that_holds_the_interpreter_does_not_hold_it_up():
    """As librdkafka's do: the thread that runs Python comes back when it likes."""
    code = """
import ctypes, os, signal, threading
from connector.cli import interrupt
interrupt.end_at_ctrl_c()
block = threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT))
block.start()
lock = ctypes.CDLL(None).pthread_mutex_lock
mutex = ctypes.create_string_buffer(256)
lock(mutex)
lock(mutex)  # for ever, and no signal ends it
"""
    ended = run(code)
    assert (ended.returncode, ended.stderr) == (130, "")


def test_a_call_to_a_broker_that_never_answers_does_not_hold_it_up():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.settimeout(60)
        process = subprocess.Popen(
            [*COMMAND, "ctl", "list", "--bootstrap", f"127.0.0.1:{broker.getsockname()[1]}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        connection, _ = broker.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=5)  # it would wait for 10 s
    assert (process.returncode, out, error) == (130, b"", b"")


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
def test_a_command_that_is_asked_to_stop_ends_in_order_and_a_second_time_at_once(first):
    code = f"""
import os, signal, sys
from connector.cli import interrupt

interrupt.end_at_ctrl_c()
before = signal.getsignal(signal.SIGINT)
with interrupt.asks_to_stop() as stop:
    assert not stop()
assert signal.getsignal(signal.SIGINT) is before
with interrupt.asks_to_stop() as stop:
    os.kill(os.getpid(), signal.{first})
    assert stop()
print("in order", flush=True)
os.kill(os.getpid(), signal.SIGINT)
print("not reached")
"""
    ended = run(code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "in order\n", "")
