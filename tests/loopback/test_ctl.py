"""`kite-connector ctl` against a leader, over the embedded broker."""

import json
import re

import pytest

from tests.support.ctl import commands
from tests.support.masters import FakeMaster

A, B, C = 257, 513, 769
MASTER = FakeMaster({"NSE:A": A, "NSE:NIFTY 50": B})


@pytest.fixture
def run(kafka, tmp_path):
    with commands(kafka, MASTER, tmp_path) as run:
        yield run


def test_ctl(run, tmp_path):
    claimed = ("-w", "algo-1", "-m", "full", "--unlisted", "--by", "somebody")
    result = run("subscribe", "NSE:A", str(C), *claimed)
    assert (result.exit_code, result.output) == (
        0,
        "APPLIED  subscribe algo-1 by somebody: revision 1, 2 accepted\n",
    )

    file = tmp_path / "instruments.txt"
    file.write_text("# indices\nNSE:NIFTY 50   # spaces are part of the name\n\n")
    result = run("subscribe", "-", "-f", str(file), "-w", "algo-2", stdin=f"{A}\n")
    assert "2 accepted" in result.output

    result = run("list")
    assert re.split(r" {2,}|\n", result.output.strip()) == [
        "token", "symbol", "mode", "slot", "account", "claimed by",
        "769", "-", "full", "1", "any", "algo-1 (full)",
        "257", "NSE:A", "full", "0", "any", "algo-1 (full), algo-2 (quote)",
        "513", "NSE:NIFTY 50", "quote", "2", "any", "algo-2 (quote)",
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
        "APPLIED  status: revision 7, 0 accepted",
        "1 of 9000 instruments",
        "slot  instruments  capacity  owner",
    ]
    assert json.loads(run("status", "--json").output)["payload"]["watchlists"] == {"algo-1": 1}


def test_an_account_carries_what_is_placed_on_it(run, tmp_path):
    assert "1 accepted" in run("subscribe", "NSE:A", "-w", "w", "--account", "second").output
    assert (
        json.loads(run("list", "--json").output)[0] | {"slot": 2, "account": "second"}
        == (json.loads(run("list", "--json").output)[0])
    )
    result = run("replace", "w", "NSE:A", "--account", "third")
    assert (result.exit_code, "there are main, second" in result.output) == (4, True)
    exported = run("export").output
    assert "account: second" in exported
    file = file_of(tmp_path, exported.replace("second", "main"))
    assert "(all of it moves to account main)" in run("plan", "-f", file).output
    assert run("apply", "-f", file).exit_code == 0
    assert json.loads(run("list", "--json").output)[0]["account"] == "main"
    assert run("plan", "-f", file).exit_code == 0


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


WATCHLISTS = """
watchlists:
  algo-1:
    full: [NSE:A, 513]
  algo-2: {ltp: [nse:a]}
"""


def file_of(tmp_path, text):
    file = tmp_path / "watchlists.yaml"
    file.write_text(text)
    return str(file)


def test_a_file_is_planned_applied_and_exported(run, tmp_path):
    file = file_of(tmp_path, WATCHLISTS)
    assert run("subscribe", "NSE:A", "-w", "old").exit_code == 0
    result = run("plan", "-f", file)
    assert result.exit_code == 2
    assert "+ NSE:A full" in result.output
    assert "instruments: 1 now, 2 then, of 9000" in result.output
    assert "kept, though the file does not name them (--prune ends them): old (1)" in result.output
    assert run("list").output.splitlines()[-1] == "1 instruments", "nothing was changed"

    result = run("apply", "-f", file, "--by", "deploy")
    assert result.exit_code == 0, result.output
    assert "APPLIED  sequence by deploy: revision 2, 3 accepted" in result.output
    again = run("apply", "-f", file)
    assert (again.exit_code, "nothing to do: revision 2" in again.output) == (0, True)
    assert run("plan", "-f", file).exit_code == 0

    result = run("apply", "-f", "-", "--prune", "--json", stdin=WATCHLISTS)
    assert json.loads(result.output)["watchlists"]["old"]["ends"] is True
    exported = run("export").output
    assert "old" not in exported
    assert run("plan", "--prune", "-f", file_of(tmp_path, exported)).exit_code == 0


def test_what_cannot_be_applied_in_full_changes_nothing(run, tmp_path):
    unknown = file_of(tmp_path, WATCHLISTS + "  new: {quote: [NSE:A, NSE:NONE]}")
    for command in ("plan", "apply"):
        result = run(command, "-f", unknown)
        assert result.exit_code == 4
        assert "NSE:NONE    not in the instrument master" in result.output
        assert "nothing was changed" in result.output
    some = ", ".join(str(number << 8 | 1) for number in range(1, 9002))
    full = file_of(tmp_path, f"watchlists: {{big: {{ltp: [{some}], unlisted: true}}}}")
    result = run("apply", "-f", full)
    assert result.exit_code == 4
    assert "instruments: 0 now, 9001 then, of 9000" in result.output
    assert "no room: 3 slots carry 3000 each" in result.output
    assert run("list").output == "0 instruments\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("watchlists: {a: {full: [1]}, a: {}}", "a is there twice"),
        ("watchlists: [", "not YAML"),
        ("a: 1", "watchlists: is missing"),
        ("watchlists: {a: {full: [INFY]}}", "'INFY' is no instrument"),
    ],
)
def test_a_wrong_file_is_a_line_with_its_place(run, tmp_path, text, problem):
    result = run("apply", "-f", file_of(tmp_path, text))
    assert problem in str(result.exception)
    assert type(result.exception).__name__ == "SettingsError"
    assert "no such file" in str(run("plan", "-f", str(tmp_path / "none")).exception)


def test_who_sends_is_the_user_or_who_is_named(run, monkeypatch):
    monkeypatch.setenv("LOGNAME", "asha")
    assert "by asha: revision 1" in run("subscribe", "NSE:A").output
    assert "by the deployment" in run("subscribe", "NSE:A", "--by", "the deployment").output
    refused = run("subscribe", "NSE:A", "--by", "x" * 65)
    assert type(refused.exception).__name__ == "SettingsError"
