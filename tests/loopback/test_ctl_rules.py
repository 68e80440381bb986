"""Rules by `kite-connector ctl`, against a leader over the embedded broker."""

import json
import re

import pytest
from typer.testing import CliRunner

from connector.cli.ctl import ctl
from tests.support.contracts_list import usual
from tests.support.ctl import commands
from tests.support.replicas import broker


@pytest.fixture
def run(tmp_path):
    with broker() as kafka, commands(kafka, usual().master(), tmp_path) as run:
        yield run


FUTURES = ("set-rule", "near", "--exchange", "NFO", "-w", "algo-1", "--by", "asha")
MONTH = ("--expiry", "2026-12-29")


def test_a_rule_is_tried_set_shown_and_ended(run):
    tried = run(*FUTURES, *MONTH, "--dry-run").output
    assert tried.splitlines() == [
        "APPLIED  set-rule algo-1 by asha: revision 1, 2 accepted (dry run: nothing was changed)",
        "it comes to 2 instruments now:",
        "  NFO:NIFTY26DECFUT",
        "  NFO:INFY26DECFUT",
    ]
    assert "revision 1, 2 accepted" in run(*FUTURES, *MONTH, "--of", "NIFTY", "--of", "INFY").output
    chain = ("set-rule", "chain", "--underlying", "NIFTY", "--strikes", "2", *MONTH)
    assert run(*chain, "-w", "algo-1", "-m", "full").exit_code == 0

    shown = run("status").output.splitlines()
    assert shown[-1].startswith("algo-1#chain: no price of NSE:NIFTY 50 has come yet")
    assert [re.split(" {2,}", line) for line in shown[-5:-1]] == [
        ["algo-1", "3"],
        ["watchlist", "rule", "what it claims", "mode", "instruments", "around"],
        ["algo-1", "chain", "options of NIFTY 2026-12-29, 2 strikes each way", "full", "1", "-"],
        ["algo-1", "near", "futures of NFO 2026-12-29: NIFTY, INFY", "quote", "2", "-"],
    ]
    rows = json.loads(run("list", "--json", "-w", "algo-1").output)
    assert [row["symbol"] for row in rows] == [
        "NFO:INFY26DECFUT", "NFO:NIFTY26DECFUT", "NSE:NIFTY 50"
    ]  # fmt: skip
    assert "1 instruments" in run("list", "-w", "algo-1#chain").output

    assert "1 accepted" in run("delete-rule", "chain", "-w", "algo-1").output
    wrong = run("delete-rule", "chain", "-w", "algo-1")
    assert (wrong.exit_code, "it has near" in wrong.output) == (4, True)
    assert run("delete", "algo-1").exit_code == 0


def test_the_options_make_the_rule(run):
    calls = ("--pattern", "nfo:nifty26*".upper(), "--kind", "CE", "--kind", "PE", *MONTH)
    tried = run("set-rule", "calls", *calls, "--dry-run", "--json").output
    assert len(json.loads(tried)["matched"]) == 82
    assert "and 62 more" in run("set-rule", "calls", *calls, "--dry-run").output
    claims = json.dumps({"type": "futures", "exchange": "MCX"})
    assert run("set-rule", "a", "--claims", claims).exit_code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give --underlying, --pattern, --exchange or --claims"),
        (("--claims", "{"), "is not JSON"),
        (("--claims", "[" * 100_000), "is not JSON"),
        (("--claims", "{}", "--exchange", "NFO"), "without other options"),
        (("--underlying", "NIFTY", "--strikes", "-1"), "claims.strikes: must be greater"),
        (("--underlying", "NIFTY", "--expiry", "soon"), "claims.expiry: must be nearest"),
        (("--underlying", "NIFTY", "--kind", "CE"), "claims.kinds: is not a field of this rule"),
        (("--pattern", "*"), "claims.pattern: must be EXCHANGE:PATTERN"),
        (("--exchange", "NFO", "--kind", "CALL"), "claims.kinds: is not a field"),
        (("--exchange", "N*"), "claims.exchange: must be an exchange"),
    ],
)
def test_what_is_wrong_in_the_options_is_said_before_anything_is_sent(options, words):
    error = CliRunner().invoke(ctl, ["set-rule", "a", *options]).exception
    assert type(error).__name__ == "SettingsError"
    assert words in str(error)


FILE = """
watchlists:
  algo-1:
    full: ["NSE:INFY"]
    rules:
      chain:
        mode: full
        claims: {type: option-chain, underlying: NIFTY, strikes: 2, expiry: 2026-12-29}
      near:
        claims: {type: futures, exchange: NFO, expiry: 2026-12-29}
"""


def test_rules_in_a_file_are_planned_applied_and_exported(run, tmp_path):
    file = tmp_path / "watchlists.yaml"
    file.write_text(FILE)
    planned = run("plan", "-f", str(file))
    assert planned.exit_code == 2
    assert "+ rule near: futures of NFO 2026-12-29 quote" in planned.output
    assert "instruments: 0 now, 1 and what 2 rules come to then, of 9000" in planned.output
    assert run("apply", "-f", str(file)).exit_code == 0

    exported = tmp_path / "exported.yaml"
    exported.write_text(run("export").output)
    assert "underlying: NIFTY" in exported.read_text()
    assert "nothing to do" in run("apply", "-f", str(exported), "--prune").output

    file.write_text(FILE.replace("NIFTY", "NIFTI"))
    wrong = run("plan", "-f", str(file))
    assert (wrong.exit_code, "no contracts on NIFTI; perhaps NIFTY" in wrong.output) == (4, True)
    file.write_text("watchlists: {algo-1: {full: ['NSE:INFY']}}")
    applied = run("apply", "-f", str(file)).output
    assert "- rule near: futures of NFO 2026-12-29" in applied
    assert "instruments: 4 now, 1 then, of 9000" in applied
