import pytest
from pydantic import SecretStr

from connector import FeedUnreachableError, StaticCredentials, TokenMissingError
from connector.kite.feed.event_reporter import EventReporter
from connector.kite.feed.opening import Opening
from connector.testing import FakeClock, RecordingHandler


class Vault(StaticCredentials):
    """Credentials whose source cannot be reached."""

    def access_token(self):
        raise OSError("the vault is away")


def opening(credentials, opener=None, root="ws://feed"):
    report = EventReporter(0, "main", RecordingHandler(), FakeClock())
    return Opening(root, credentials, opener, 5.0, report)


def test_a_root_that_is_none_is_refused_at_once():
    with pytest.raises(ValueError, match="root must be ws"):
        opening(StaticCredentials("key", "token"), root="http://feed")


def test_the_version_is_that_of_the_token_that_was_tried():
    credentials = StaticCredentials("key", None)
    tried = opening(credentials)
    with pytest.raises(TokenMissingError):
        tried.token()
    credentials.set_access_token("token")
    assert tried.token_version != credentials.version
    assert tried.token().get_secret_value() == "token"
    assert tried.token_version == credentials.version


def test_credentials_that_raise_may_come_back():
    with pytest.raises(FeedUnreachableError, match="the access_token's source: OSError"):
        opening(Vault("key", "token")).token()


async def test_a_socket_is_opened_with_all_that_it_needs():
    seen = []

    async def opener(*arguments):
        seen.extend(arguments)
        return "socket"

    token, listener = SecretStr("token"), object()
    credentials = StaticCredentials("key", "token")
    assert await opening(credentials, opener).socket(token, listener) == "socket"
    assert seen == ["ws://feed", credentials.api_key, token, listener, 5.0]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(FeedUnreachableError("ws://feed", "refused"), "refused"), (KeyError("x"), "KeyError")],
)
async def test_whatever_fails_is_an_error_of_the_feed(error, reason):
    async def opener(*_):
        raise error

    tried = opening(StaticCredentials("key", "token"), opener)
    with pytest.raises(FeedUnreachableError, match=reason):
        await tried.socket(SecretStr("token"), object())
