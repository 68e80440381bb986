"""What `kite-connector calendar` prints."""

import json

import pytest

from connector.cli import main
from connector.kite.market_hours import shipped_lines


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["kite-connector", "calendar", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    return ended.value.code, output.out, output.err


def test_exchanges_that_trade_alike_share_a_line(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "--date", "2026-11-24")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "Tuesday 2026-11-24, times of India"
    assert lines[1].split()[:6] == ["NSE", "NFO", "BSE", "BFO", "INDICES", "closed"]
    assert lines[3].split()[:4] == ["MCX", "MCXSX", "NCO", "17:00-23:55"]


def test_each_exchange_is_a_json_line(monkeypatch, capsys):
    _, out, _ = run(monkeypatch, capsys, "--date", "2024-03-02", "--days", "2", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    nse = lines[0]
    assert len(lines) == 20
    assert (nse["date"], nse["exchange"], nse["holidays_listed"]) == ("2024-03-02", "NSE", True)
    assert [one["closes"] for one in nse["sessions"]] == ["10:00", "12:30"]


def test_a_day_before_all_hours_is_closed(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "--date", "1999-01-04")
    assert code == 0
    assert "before the first hours that are known" in out


def test_days_end_with_the_calendar(monkeypatch, capsys):
    assert run(monkeypatch, capsys, "--date", "9999-12-31")[0] == 0
    code, _, err = run(monkeypatch, capsys, "--date", "9999-12-31", "--days", "2")
    assert (code, "--days" in err) == (2, True)


def test_a_file_adds_to_what_is_shipped(monkeypatch, capsys, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("# ours\nday,2026-12-01,NSE,closed,a day of mourning,circular\n")
    _, out, _ = run(monkeypatch, capsys, "--date", "2026-12-01", "--file", str(file))
    assert "NSE BSE INDICES  closed" in out
    assert "a day of mourning (circular)" in out
    assert "09:15-15:40" in out


def test_a_wrong_line_is_a_wrong_setting(monkeypatch, capsys, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("\nday,2026-12-01,NSE,shut,a,b\n")
    code, _, err = run(monkeypatch, capsys, "--file", str(file))
    assert code == 2
    assert f"{file}: line 2: has 'shut' for a session" in err
    code, _, err = run(monkeypatch, capsys, "--file", str(tmp_path / "none.csv"))
    assert code == 2
    assert "none.csv" in err


def test_the_file_can_be_had(monkeypatch, capsys):
    _, out, _ = run(monkeypatch, capsys, "--print-file")
    assert out.splitlines() == shipped_lines()
