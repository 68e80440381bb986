import getpass
import os

import pytest

from connector.cli.ctl_shown import os_user, print_reply, table
from connector.control.reply import RefusedInstrument, Reply, ReplyStatus


def test_the_sender_is_the_user_of_the_system(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "asha\x1b" + "x" * 100)
    assert os_user() == ("asha\\x1b" + "x" * 100)[:64]


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_a_name_is_a_number(monkeypatch, error):
    def getuser():
        raise error

    monkeypatch.setattr(getpass, "getuser", getuser)
    assert os_user() == f"uid {os.getuid()}"


def test_a_reply_says_what_it_is_about(capsys):
    refused = tuple(RefusedInstrument(instrument=n, reason="no room") for n in range(30))
    reply = Reply(
        id="1", status=ReplyStatus.REJECTED, type="sequence", by="deploy", revision=3,
        refused=refused, errors=("nothing was changed",), dry_run=True,
    )  # fmt: skip
    print_reply(reply, most_refused=2)
    assert capsys.readouterr().out.splitlines() == [
        "REJECTED  sequence by deploy: revision 3, 0 accepted (dry run: nothing was changed)",
        "  nothing was changed",
        "refused: 30",
        "instrument  reason",
        "0           no room",
        "1           no room",
        "and 28 more",
    ]


def test_a_table_has_columns_and_nothing_without_rows(capsys):
    table(("a", "b"), [])
    table(("a", "b"), [("long", 1)])
    assert capsys.readouterr().out == "a     b\nlong  1\n"
