import functools

import pytest

from connector import Handler, KiteTickerAsync, KiteTickerManager, StaticCredentials
from connector.compat import KiteTicker
from connector.kite.callbacks import check_callback
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import RecordingHandler, until, wait_until

CREDENTIALS = StaticCredentials("key", "token")


async def later(*_):
    """Do something that takes a while."""


async def yields(*_):
    yield 1


class Called:
    async def __call__(self, *_):
        """Do the same."""


NOT_AWAITED = [later, yields, Called(), Called().__call__, functools.partial(later, 1)]


@pytest.mark.parametrize("callback", NOT_AWAITED)
def test_what_nobody_would_await_is_refused_where_it_is_given(callback):
    calls = [
        lambda: KiteTickerAsync(CREDENTIALS, on_event=callback),
        lambda: KiteTickerManager("key", "token", on_event=callback),
        lambda: KiteTickerManager("key", "token", handler_factory=callback),
        lambda: StaticCredentials("key", "token").add_listener(callback),
        lambda: setattr(KiteTicker("key", "token"), "on_ticks", callback),
        lambda: wait_until(callback),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="not awaited: it cannot be an `async def`"):
            call()


async def test_a_condition_that_would_be_true_at_once_is_none():
    with pytest.raises(TypeError, match="the condition is called, and not awaited"):
        await until(later)
    async with SimulatorServer(SimulatorConfig(stepped=True)) as feed:
        with pytest.raises(TypeError, match="the condition is called, and not awaited"):
            await feed.until(later)


@pytest.mark.parametrize("name", ["opened", "expect", "forget", "frame", "message", "event"])
def test_no_method_of_a_handler_is_awaited(name):
    assert callable(getattr(Handler, name))
    handler = RecordingHandler()
    setattr(handler, name, later)
    with pytest.raises(TypeError, match=f"RecordingHandler.{name} is called, and not awaited"):
        KiteTickerManager("key", "token", handler_factory=lambda _slot: handler)


def test_nobody_awaits_an_access_token():
    class Vault(StaticCredentials):
        access_token = later

    with pytest.raises(TypeError, match=r"Vault\.access_token is called, and not awaited"):
        KiteTickerAsync(Vault("key", "token"))


@pytest.mark.parametrize("callback", [5, "print"])
def test_what_cannot_be_called_is_no_callback(callback):
    with pytest.raises(TypeError, match="on_event must be a function, not "):
        KiteTickerAsync(CREDENTIALS, on_event=callback)


@pytest.mark.parametrize("callback", [print, str, functools.partial(print, 1), [].append, Called])
def test_whatever_can_be_called_is_one(callback):
    check_callback("on_event", callback)
    KiteTicker("key", "token").on_ticks = None
