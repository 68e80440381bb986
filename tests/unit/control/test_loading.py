from concurrent.futures import Future

import pytest

from connector.control.loading import PAUSE_SECONDS, Loading
from connector.errors import InstrumentNotFoundError


class Lists:
    def __init__(self):
        self.now = 0.0
        self.loads = []
        self.loading = Loading(self.load, clock=self)

    def monotonic(self):
        return self.now

    def load(self, accepts):
        self.loads.append((accepts, Future()))
        return self.loads[-1][1]


@pytest.fixture
def lists():
    return Lists()


def test_one_load_at_a_time(lists):
    lists.loading.want(accepts=False)
    lists.loading.want(accepts=True)
    assert [accepts for accepts, _ in lists.loads] == [False]
    assert (lists.loading.running, lists.loading.ended()) == (True, False)
    lists.loads[0][1].set_result(None)
    assert lists.loading.ended()
    assert lists.loading.failure() is None
    assert (lists.loading.running, lists.loading.ended()) == (False, False)


def test_the_next_one_of_a_kind_waits_for_a_pause(lists):
    for seconds in (0, PAUSE_SECONDS - 1, PAUSE_SECONDS):
        lists.now = seconds
        lists.loading.want(accepts=False)
        if lists.loading.running:
            lists.loads[-1][1].set_result(None)
            assert lists.loading.failure() is None
    assert len(lists.loads) == 2
    lists.loading.want(accepts=True)
    assert (lists.loads[-1][0], lists.loading.accepts) == (True, True)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InstrumentNotFoundError("NSE:\x1bA"), "NSE:\ufffdA is not in the instrument master"),
        (TimeoutError(), "TimeoutError()"),
        (OSError("no route"), "no route"),
        (ZeroDivisionError(), "internal error"),
    ],
)
def test_why_a_load_came_to_nothing(lists, error, reason):
    lists.loading.want(accepts=False)
    lists.loads[0][1].set_exception(error)
    assert lists.loading.failure().startswith(reason)


def test_without_a_list_there_is_nothing_to_load():
    loading = Loading(None)
    loading.want(accepts=False)
    assert (loading.possible, loading.running) == (False, False)


def test_a_load_is_let_go_at_the_end(lists):
    lists.loading.want(accepts=False)
    lists.loading.close()
    assert lists.loads[0][1].cancelled()
