import os
import stat

import pytest
from pydantic import SecretStr

from connector.errors import LoginError, RestTokenError
from connector.kite.web.login import check_writable, log_in, request_token_of, write_token

TOKEN = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6"
KEY, SECRET = SecretStr("key"), SecretStr("secret")


@pytest.mark.parametrize(
    "pasted",
    [
        TOKEN,
        f"  {TOKEN}\n",
        f"https://example.com/done?action=login&type=login&status=success&request_token={TOKEN}",
        f'"http://127.0.0.1:8080/?request_token={TOKEN}&status=success#top"',
        f"<http://127.0.0.1:8080?a=b&request_token={TOKEN}>",
        f"app://?request_token={TOKEN}",
        f"request_token={TOKEN}&status=success",
        f"127.0.0.1:8080/done?status=success&request_token={TOKEN}",
    ],
)
def test_whatever_is_pasted_the_request_token_is_found(pasted):
    assert request_token_of(pasted).get_secret_value() == TOKEN


@pytest.mark.parametrize(
    ("pasted", "why"),
    [
        ("", "no request_token was given"),
        (" \n", "no request_token was given"),
        ("https://example.com/done", "no request_token in that"),
        ("https://example.com/done?request_token=", "no request_token in that"),
        ("https://kite.zerodha.com/connect/login?v=3&api_key=abc", "no request_token in that"),
        (f"https://example.com/?request_token={TOKEN} and more", "no request_token in that"),
        (f"https://example.com/?status=cancelled&request_token={TOKEN}", "did not succeed"),
        ("http://[::1?request_token=x", "no request_token in that"),
    ],
)
def test_what_has_none_is_said_and_not_shown(pasted, why):
    with pytest.raises(LoginError, match=why) as caught:
        request_token_of(pasted)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("Invalid `checksum`.", "api_secret is not the one"),
        ("Invalid `api_key`.", "does not know this api_key"),
        ("Token is invalid or has expired.", "open the login page again"),
    ],
)
async def test_a_refusal_says_what_to_do(monkeypatch, message, advice):
    async def refuse(*_):
        raise RestTokenError(403, "TokenException", message)

    monkeypatch.setattr("connector.kite.web.login.KiteRest.exchange", refuse)
    with pytest.raises(LoginError, match=advice) as caught:
        await log_in("http://127.0.0.1:9", KEY, SECRET, SecretStr(TOKEN))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_token_is_for_its_owner_alone_and_nothing_is_left_beside_it(tmp_path):
    file = tmp_path / "token"
    file.write_text("yesterdays, and longer than the new one")
    file.chmod(0o644)
    check_writable(file)
    assert file.read_text().startswith("yesterdays")
    write_token(file, SecretStr("todays"))
    assert file.read_text() == "todays\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "token", tmp_path / "link"
    target.write_text("yesterdays")
    link.symlink_to(target)
    write_token(link, SecretStr("todays"))
    assert link.is_symlink()
    assert target.read_text() == "todays\n"


def test_a_replaced_file_keeps_its_owner(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text("yesterdays")
    asked = []
    monkeypatch.setattr(os, "fchown", lambda number, *owner: asked.append(owner))
    write_token(file, SecretStr("todays"))
    assert asked == []
    status = file.stat()

    class Others:
        st_uid, st_gid, st_mode = status.st_uid + 1, status.st_gid + 1, status.st_mode

    monkeypatch.setattr("connector.kite.web.login.Path.stat", lambda *_, **__: Others)
    check_writable(file)
    assert asked == [(Others.st_uid, Others.st_gid)]


def test_a_file_that_cannot_be_written_is_said_before_and_after(tmp_path):
    file = tmp_path / "none" / "token"
    for attempt in (check_writable, lambda path: write_token(path, SecretStr("todays"))):
        with pytest.raises(
            LoginError, match=r"none/token cannot be written: No such file"
        ) as caught:
            attempt(file)
        assert "todays" not in str(caught.value)


def test_a_read_only_volume_gets_advice(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("connector.files.NamedTemporaryFile", refuse)
    with pytest.raises(LoginError, match="where the Secret is kept"):
        check_writable(tmp_path / "token")
