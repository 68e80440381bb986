"""`kite-connector login` against the simulated Kite, up to the service that waits for its token."""

import asyncio
import contextlib
import re
import socket
import stat
import sys
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import yaml
from typer.testing import CliRunner

from connector.cli import app
from connector.errors import ConnectorError, LoginError, PortInUseError
from connector.kite.web.login import MAX_PARAMETERS, LoginReceiver
from connector.kite.web.rest import login_url
from connector.simulator import SimulatedAccount, SimulatorConfig, SimulatorServer
from connector.testing import until
from tests.support.processes import ended
from tests.support.stack import service, stack, streaming

KEY = "simulated_key"


class Login:
    """Runs the command, with settings of its own."""

    def __init__(self, folder, server):
        self.folder = folder
        self.file = folder / "access_token"
        self.settings = {
            "feed": {"root": server.ws_url, "rest": server.rest_url, "login": server.rest_url},
            "accounts": [
                {
                    "api_key": KEY,
                    "api_secret": "simulated_secret",
                    "access_token_file": str(self.file),
                }
            ],
        }

    def arguments(self, *more):
        config = self.folder / "settings.yaml"
        config.write_text(yaml.safe_dump(self.settings))
        return ["login", "--config", str(config), *more]

    async def run(self, *more, stdin=""):
        """Exit code, standard output, standard error or the error that `main` would print."""
        result = await asyncio.to_thread(
            CliRunner().invoke, app, self.arguments(*more), input=stdin
        )
        if isinstance(result.exception, ConnectorError):
            return result.exit_code, result.stdout, result.stderr + str(result.exception)
        return result.exit_code, result.stdout, result.stderr

    async def start(self, *more):
        """In a process of its own, as people do."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "connector.cli", *self.arguments(*more),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    @property
    def account(self):
        return self.settings["accounts"][0]


@pytest.fixture
async def server():
    config = SimulatorConfig(
        stepped=True,
        instruments=10,
        accounts=(SimulatedAccount(redirect_url="http://127.0.0.1:9/done"),),
    )
    async with SimulatorServer(config) as server:
        server.expire_token()
        yield server


@pytest.fixture
def login(tmp_path, server):
    return Login(tmp_path, server)


async def redirect_of(page):
    """Where a browser is sent to after the login."""
    async with aiohttp.ClientSession() as http, http.get(page, allow_redirects=False) as response:
        assert response.status == 302
        return response.headers["Location"]


async def test_from_the_printed_address_to_the_file(server, login):
    code, page, _ = await login.run("--url")
    assert code == 0
    assert page.strip() == login_url(KEY, server.rest_url)
    redirect = await redirect_of(page.strip())
    assert redirect.startswith("http://127.0.0.1:9/done?")

    code, out, err = await login.run(stdin=redirect + "\n")
    assert (code, err) == (0, "")
    assert "logged in as Simulated Trader (SIM001), account main" in out
    token = server.access.entry(KEY).access_token
    assert login.file.read_text().strip() == token
    assert stat.S_IMODE(login.file.stat().st_mode) == 0o600
    assert token not in out

    code, out, err = await login.run(redirect)
    assert (code, out) == (1, "")
    assert "\n" not in err
    assert "a request_token is good once" in err
    assert login.file.read_text().strip() == token
    for secret in (
        token,
        "simulated_secret",
        parse_qs(urlsplit(redirect).query)["request_token"][0],
    ):
        assert secret not in err


async def test_a_session_of_another_api_key_is_not_written(server, login, monkeypatch):
    exchange = server.access.exchange

    def another(**given):
        account, token = exchange(**given)
        return account.model_copy(update={"api_key": "of_another_app"}), token

    monkeypatch.setattr(server.access, "exchange", another)
    login.file.write_text("good\n")
    code, out, err = await login.run(await redirect_of(login_url(KEY, server.rest_url)))
    assert (code, out, login.file.read_text()) == (1, "", "good\n")
    assert "the session is of another api_key" in err
    assert "log in again" in err
    assert "\n" not in err
    assert "of_another_app" not in err


async def test_what_is_wrong_is_one_line_and_costs_no_request_token(server, login):
    token = server.access.issue_request_token()
    login.account["api_secret"] = "guess"
    code, _, err = await login.run(token)
    assert (code, "\n" in err) == (1, False)
    assert "the api_secret is not the one" in err
    assert "guess" not in err

    del login.account["api_secret"]
    code, _, err = await login.run(token)
    assert code == 1
    assert "accounts.0.api_secret: a login needs it: set KITE_ACCOUNTS__0__API_SECRET" in err
    login.account["api_secret"] = "simulated_secret"

    del login.account["access_token_file"]
    code, _, err = await login.run(token)
    assert code == 1
    assert "accounts.0.access_token_file: where shall the token go?" in err

    missing = login.folder / "none" / "token"
    code, _, err = await login.run(token, "--token-file", str(missing))
    assert code == 1
    assert f"{missing} cannot be written: No such file or directory" in err

    code, _, err = await login.run(token, "--account", "other")
    assert code == 1
    assert "no such account: other; name one of main" in err

    code, _, err = await login.run("-", "--token-file", str(login.file))
    assert code == 1
    assert "no request_token was given" in err

    login.settings["feed"]["rest"] = "http://127.0.0.1:1"
    code, _, err = await login.run(token, "--token-file", str(login.file))
    assert (code, "\n" in err) == (1, False)
    assert "cannot reach the feed at http://127.0.0.1:1: Connection refused" in err

    login.settings["feed"]["rest"] = server.rest_url
    elsewhere = login.folder / "elsewhere"
    code, _, err = await login.run(token, "--token-file", str(elsewhere))
    assert code == 0
    assert "does not look at this file" in err
    assert elsewhere.read_text().strip() == server.access.entry(KEY).access_token


async def test_one_of_several_accounts_has_to_be_named(login):
    login.settings["accounts"].append({"name": "second", "api_key": "other"})
    code, _, err = await login.run("--url")
    assert code == 1
    assert "there are several accounts; name one of main, second" in err
    code, out, _ = await login.run("--url", "--account", "second")
    assert code == 0
    assert parse_qs(urlsplit(out.strip()).query)["api_key"] == ["other"]


async def test_with_a_listener_a_click_is_all_it_takes(server, login):
    process = await login.start("--listen", "0")
    async with ended(process):
        said = (await process.stderr.readline()).decode()
        page = (await process.stdout.readline()).decode().strip()
        target = urlsplit(await redirect_of(page))
        own = re.search(r"http://127\.0\.0\.1:\d+/", said).group()
        async with aiohttp.ClientSession() as http, http.get(f"{own}?{target.query}") as response:
            assert response.status == 200
            assert "Back to the terminal" in await response.text()
        out, err = await process.communicate()
    assert process.returncode == 0
    assert err == b""
    assert b"logged in as Simulated Trader" in out
    assert login.file.read_text().strip() == server.access.entry(KEY).access_token


async def test_the_listener_takes_its_own_login_alone(server):
    async with LoginReceiver(0) as receiver, aiohttp.ClientSession() as http:
        # any page in the browser may call a local port
        forged = f"{receiver.redirect_url}?status=success&request_token=forged"
        for url in (forged, f"{forged}&state=guess", f"{receiver.redirect_url}favicon.ico"):
            async with http.get(url) as response:
                assert response.status == 404
        waiting = asyncio.create_task(receiver.request_token(60))
        query = urlsplit(await redirect_of(receiver.login_url(KEY, server.rest_url))).query
        async with http.get(f"{receiver.redirect_url}?{query}") as response:
            assert response.headers["Cache-Control"] == "no-store"
        # a browser that asks once more changes nothing
        async with http.get(f"{receiver.redirect_url}?{query}") as response:
            assert response.status == 200
        token = await waiting
        assert token.get_secret_value() == parse_qs(query)["request_token"][0]


async def test_the_listener_is_told_of_a_failed_login(server):
    async with LoginReceiver(0) as receiver, aiohttp.ClientSession() as http:
        query = urlsplit(await redirect_of(receiver.login_url(KEY, server.rest_url))).query
        failed = query.replace("status=success", "status=cancelled")
        async with http.get(f"{receiver.redirect_url}?{failed}"):
            pass
        with pytest.raises(LoginError, match="did not succeed"):
            await receiver.request_token(60)


async def test_the_listener_does_not_wait_for_ever():
    async with LoginReceiver(0) as receiver:
        with pytest.raises(LoginError, match="nobody logged in within 0 s"):
            await receiver.request_token(0)


async def test_the_listener_says_that_its_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        receiver = LoginReceiver(other.getsockname()[1])
        with pytest.raises(PortInUseError, match="--listen"):
            await receiver.__aenter__()


async def test_a_crowd_at_the_listener_keeps_nobody_from_logging_in(server):
    async with LoginReceiver(0) as receiver, contextlib.AsyncExitStack() as crowd:
        for begin in (
            b"",
            b"GET / HTTP/1.1\r\nX: ",
            b"\x16\x03\x01",
            b"GET /" + b"a" * 20_000,
        ) * 25:
            half_open = crowd.enter_context(
                socket.create_connection(("127.0.0.1", urlsplit(receiver.redirect_url).port))
            )
            with contextlib.suppress(OSError):
                half_open.sendall(begin)
            await asyncio.sleep(0)
        http = await crowd.enter_async_context(aiohttp.ClientSession())
        many = "&".join(f"a{number}=b" for number in range(MAX_PARAMETERS + 1))
        async with http.get(f"{receiver.redirect_url}?{many}") as response:
            assert response.status == 404
        async with http.post(receiver.redirect_url, data=b"x" * 100_000) as response:
            assert response.status == 405
        query = urlsplit(await redirect_of(receiver.login_url(KEY, server.rest_url))).query
        async with http.get(f"{receiver.redirect_url}any/path?{query}") as response:
            assert response.status == 200
            assert "may be closed" in await response.text()
        token = await receiver.request_token(60)
        assert token.get_secret_value() == parse_qs(query)["request_token"][0]


async def test_a_service_that_waits_takes_the_token_at_once(tmp_path):
    accounts = [
        {
            "api_key": KEY,
            "api_secret": "simulated_secret",
            "access_token_file": str(tmp_path / "access_token"),
        }
    ]
    async with stack(accounts=accounts) as around, service(around, ready=False) as running:
        around.simulator.expire_token()
        await until(
            lambda: (
                [connection.state for connection in running.status().connections]
                == ["waiting_for_token"] * 3
            )
        )
        login = Login(tmp_path, around.simulator)
        process = await login.start(around.simulator.access.issue_request_token())
        assert (await process.communicate())[1] == b""
        assert process.returncode == 0
        await streaming(around, running)
