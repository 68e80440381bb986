import hashlib

import pytest

from connector.simulator.access import Access, RefusedError
from connector.simulator.config import SimulatedAccount
from tests.support.clock import SteppedClock


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def access(clock):
    accounts = [SimulatedAccount(), SimulatedAccount(api_key="other", access_token=None)]
    return Access(accounts, max_sockets=3, release_seconds=0.5, monotonic=clock.monotonic)


def refused(call, *args):
    with pytest.raises(RefusedError) as caught:
        call(*args)
    return caught.value.status


def test_a_fourth_socket_is_refused_and_a_closed_one_frees_its_slot_later(access, clock):
    for _ in range(3):
        access.admit("simulated_key", "simulated_token")
    assert refused(access.admit, "simulated_key", "simulated_token") == 429
    access.release("simulated_key")
    assert refused(access.admit, "simulated_key", "simulated_token") == 429
    clock.seconds += 0.5
    access.admit("simulated_key", "simulated_token")
    assert access.open_sockets() == access.max_open_sockets() == 3
    assert access.refusals == {429: 2}


@pytest.mark.parametrize(
    ("api_key", "token"),
    [
        ("simulated_key", "wrong"),
        ("simulated_key", ""),
        ("nobody", "simulated_token"),
        ("other", ""),
    ],
)
def test_wrong_credentials(access, api_key, token):
    assert refused(access.admit, api_key, token) == 403
    assert access.open_sockets() == 0


def test_tokens_change_at_run_time(access):
    access.expire_token()
    assert refused(access.admit, "simulated_key", "simulated_token") == 403
    access.set_token("new")
    access.admit("simulated_key", "new")
    access.set_token("theirs", "other")
    access.admit("other", "theirs")
    access.expire_token("other")
    assert refused(access.check, "other", "theirs") == 403
    access.check("simulated_key", "new")


def test_refusals_on_demand_come_before_anything_else(access):
    access.refuse_next(503, 2)
    assert refused(access.admit, "simulated_key", "simulated_token") == 503
    access.stop_refusing()
    access.admit("simulated_key", "simulated_token")


def checksum(request_token, secret="simulated_secret"):
    return hashlib.sha256(f"simulated_key{request_token}{secret}".encode()).hexdigest()


def test_a_login_makes_the_only_good_token(access):
    request_token = access.issue_request_token()
    account, token = access.exchange("simulated_key", request_token, checksum(request_token))
    assert account.user_id == "SIM001"
    access.check("simulated_key", token)
    assert refused(access.check, "simulated_key", "simulated_token") == 403
    again = ("simulated_key", request_token, checksum(request_token))
    assert refused(access.exchange, *again) == 403


def test_a_login_needs_the_secret(access):
    request_token = access.issue_request_token()
    wrong = ("simulated_key", request_token, checksum(request_token, "guess"))
    assert refused(access.exchange, *wrong) == 403
    assert refused(access.exchange, "nobody", request_token, checksum(request_token)) == 403
    assert refused(access.exchange, "simulated_key", "made up", checksum("made up")) == 403
    access.exchange("simulated_key", request_token, checksum(request_token))
