"""The command for the daily login: `kite-connector login`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import with_settings
from connector.errors import SettingProblem, SettingsError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from connector.settings.models import AccountSettings, FeedSettings, Settings

_LINE_CHARS = 8192  # of an address, as browsers have them


@with_settings(accounts_required=True)
def login(
    *,
    settings: Settings,
    request_token: Annotated[
        str | None,
        typer.Argument(
            help="The request_token of the redirect, or its whole address; - reads it from "
            "standard input, as leaving it out does where that is no terminal.",
            show_default=False,
        ),
    ] = None,
    account: Annotated[
        str | None,
        typer.Option(
            "--account", "-a", help="The account to log in; may be left out where there is one."
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="Write the access_token to this file. [default: the account's access_token_file]",
            show_default=False,
        ),
    ] = None,
    listen: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Accept the redirect at http://127.0.0.1:PORT/, which has to be the app's "
            "redirect URL: there is nothing to paste.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Wait so many seconds for the redirect, with --listen.")
    ] = 300.0,
    url: Annotated[
        bool, typer.Option("--url", help="Print the login page's address, and do nothing else.")
    ] = False,
) -> None:
    """Log in for the day: open the printed address, and give what the browser comes back with.

    Writes the access_token to the account's token file, readable by its owner alone. A running
    service takes it from there at once; nothing has to be restarted. The token is never shown.
    """
    import asyncio

    number, chosen = _account(settings.accounts, account)
    from connector.kite.web.rest import login_url

    if url:
        typer.echo(login_url(chosen.api_key, settings.feed.login))
        return
    if listen is not None and request_token is not None:
        raise SettingsError([SettingProblem("--listen", "waits for the token that is given")])
    path = _token_file(number, chosen, token_file)
    if chosen.api_secret is None:
        from connector.settings.paths import variable_of

        raise SettingsError(
            [
                SettingProblem(
                    f"accounts.{number}.api_secret",
                    f"a login needs it: set {variable_of(('accounts', number, 'api_secret'))}, or "
                    "write it into the settings file",
                )
            ]
        )
    from connector.kite.web.login import check_writable, log_in, request_token_of, write_token

    # before the request_token is used: it is good for one login
    check_writable(path)
    if listen is not None:
        token = asyncio.run(_receive(settings.feed, chosen, listen, timeout))
    else:
        token = request_token_of(
            _given(request_token, login_url(chosen.api_key, settings.feed.login))
        )
    session = asyncio.run(log_in(settings.feed.rest, chosen.api_key, chosen.api_secret, token))
    write_token(path, session.access_token)
    typer.echo(f"logged in as {session.user_name} ({session.user_id}), account {chosen.name}")
    typer.echo(f"token written to {path}; Kite ends it in the morning, 06:45 to 07:30 IST")
    if chosen.access_token_file is None:
        _say(
            f"accounts.{number}.access_token_file is not set: a service with these settings does "
            "not look at this file"
        )


def _account(
    accounts: tuple[AccountSettings, ...], name: str | None
) -> tuple[int, AccountSettings]:
    names = ", ".join(account.name for account in accounts)
    for number, account in enumerate(accounts):
        if account.name == name or (name is None and len(accounts) == 1):
            return number, account
    reason = f"no such account: {name}" if name else "there are several accounts"
    raise SettingsError([SettingProblem("--account", f"{reason}; name one of {names}")])


def _token_file(number: int, account: AccountSettings, given: Path | None) -> Path:
    path = given or account.access_token_file
    if path is None:
        raise SettingsError(
            [
                SettingProblem(
                    f"accounts.{number}.access_token_file",
                    "where shall the token go? Set it, or give --token-file",
                )
            ]
        )
    return path


async def _receive(
    feed: FeedSettings, account: AccountSettings, port: int, seconds: float
) -> SecretStr:
    from connector.kite.web.login import LoginReceiver

    async with LoginReceiver(port) as receiver:
        _say(f"waiting at {receiver.redirect_url}, the app's redirect URL; log in at")
        typer.echo(receiver.login_url(account.api_key, feed.login))
        sys.stdout.flush()
        return await receiver.request_token(seconds)


def _given(argument: str | None, page: str) -> str:
    """Return what was given, in whichever way."""
    if argument is not None and argument != "-":
        return argument
    if sys.stdin.isatty() and argument is None:
        _say("log in at")
        typer.echo(page)
        return str(typer.prompt("address after the login, or its request_token", err=True))
    return sys.stdin.readline(_LINE_CHARS)


def _say(text: str) -> None:
    typer.echo(text, err=True)
