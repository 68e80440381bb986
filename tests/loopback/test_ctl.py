"""`kite-connector ctl` against a leader, over the embedded broker."""

import json
import re

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from connector.cli.ctl import ctl
from tests.support.leaders import leader
from tests.support.masters import FakeMaster
from tests.support.replicas import broker

A, B, C = 257, 513, 769
MASTER = FakeMaster({"NSE:A": A, "NSE:NIFTY 50": B})


@pytest.fixture
def kafka():
    with broker() as running:
        yield running


@pytest.fixture
def run(kafka):
    # the leader's log goes to the same standard output here, but not in life
    with capture_logs(), leader(kafka, MASTER):
        runner = CliRunner()

        def run(*arguments, stdin=None):
            return runner.invoke(
                ctl, [*arguments, "--bootstrap", kafka.bootstrap_servers], input=stdin
            )

        yield run


def test_ctl(run, tmp_path):
    result = run("subscribe", "NSE:A", str(C), "-w", "algo-1", "-m", "full", "--unlisted")
    assert (result.exit_code, result.output) == (0, "APPLIED  revision 1, 2 accepted\n")

    file = tmp_path / "instruments.txt"
    file.write_text("# indices\nNSE:NIFTY 50   # spaces are part of the name\n\n")
    result = run("subscribe", "-", "-f", str(file), "-w", "algo-2", stdin=f"{A}\n")
    assert "2 accepted" in result.output

    result = run("list")
    assert re.split(r" {2,}|\n", result.output.strip()) == [
        "token", "symbol", "mode", "slot", "claimed by",
        "769", "-", "full", "1", "algo-1 (full)",
        "257", "NSE:A", "full", "0", "algo-1 (full), algo-2 (quote)",
        "513", "NSE:NIFTY 50", "quote", "2", "algo-2 (quote)",
        "3 instruments",
    ]  # fmt: skip
    rows = json.loads(run("list", "--json", "-w", "algo-2").output)
    assert [row["token"] for row in rows] == [A, B]

    assert "1 accepted" in run("set-mode", "ltp", "NSE:A", "-w", "algo-2").output
    assert "2 accepted" in run("set-mode", "ltp", "-w", "algo-1").output
    assert "1 accepted" in run("unsubscribe", str(C), "-w", "algo-1").output
    assert "1 accepted" in run("replace", "algo-1", str(C), "-m", "quote", "--unlisted").output
    assert "dry run" in run("delete", "algo-2", "--dry-run").output
    assert "2 accepted" in run("delete", "algo-2").output
    assert run("reconnect", "0").exit_code == 0
    assert run("rebalance").exit_code == 0
    assert run("refresh-instruments").exit_code == 0

    result = run("status")
    assert result.output.splitlines()[:3] == [
        "APPLIED  revision 7, 0 accepted",
        "1 of 9000 instruments",
        "slot  instruments  capacity  owner",
    ]
    assert json.loads(run("status", "--json").output)["payload"]["watchlists"] == {"algo-1": 1}


def test_ctl_exit_codes_tell_the_result(run, tmp_path):
    assert run("subscribe", "NSE:A", "NSE:UNKNOWN").exit_code == 5
    assert run("delete", "nobody").exit_code == 4
    result = run("subscribe", "NSE:A", "--expected-revision", "7")
    assert result.exit_code == 4
    assert "expected_revision: the revision is 1" in result.output
    assert run("subscribe", "NSE:A", "--mode", "depth").exit_code == 2
    for wrong in (("subscribe", "INFY"), ("subscribe",), ("subscribe", "-f", str(tmp_path))):
        result = run(*wrong)
        assert type(result.exception).__name__ == "SettingsError"


def test_ctl_repeats_by_id(run):
    first = run("subscribe", "NSE:A", "--id", "same", "--json")
    assert run("subscribe", "NSE:A", "--id", "same", "--json").output == first.output
    other = run("delete", "default", "--id", "same")
    assert (other.exit_code, "another command had this id" in other.output) == (4, True)


def test_ctl_watch_ends_after_its_time(run):
    assert run("watch", "--timeout", "0.3").exit_code == 0
