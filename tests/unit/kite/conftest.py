import pytest

from connector import StaticCredentials
from connector.testing import FakeFeed


@pytest.fixture
async def over_feed():
    """Makes (feed, subject): a "ticker", "manager" or "connection", closed at the end."""
    subjects = []

    def make(kind, *answers, random=0.5, **options):
        feed = FakeFeed(*answers, random=random)
        subjects.append(getattr(feed, kind)(**options))
        return feed, subjects[-1]

    yield make
    for subject in subjects:
        await (subject.stop if hasattr(subject, "stop") else subject.close)()


@pytest.fixture
def make(over_feed):
    """Makes (feed, connection)."""

    def make(*answers, token="token", **options):
        credentials = StaticCredentials("key", token, "main")
        return over_feed("connection", *answers, credentials=credentials, slot=2, **options)

    return make
