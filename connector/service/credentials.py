"""The credentials of the settings' accounts: a token that stays, or a file that is watched."""

from __future__ import annotations

from connector.kite.feed.credentials import Credentials, FileCredentials, StaticCredentials
from connector.settings.models import AccountSettings


def credentials_of(account: AccountSettings) -> Credentials:
    """Return an account's credentials, from wherever the settings say."""
    if account.access_token_file is not None:
        return FileCredentials(
            account.api_key,
            account.access_token_file,
            account.name,
            api_key_file=account.api_key_file,
        )
    return StaticCredentials(account.api_key, account.access_token, account.name)
