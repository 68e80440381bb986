import json

import pytest

from connector.control.records import (
    LeaderProgress,
    Remembered,
    Subscription,
    SubscriptionRecord,
    reconnect_value,
)
from connector.kite.wire.models import Mode

INFY = 408065


def test_a_subscription_keeps_its_contract():
    subscription = Subscription(2, {"a": Mode.LTP, "b": Mode.FULL, "c": Mode.QUOTE}, "NSE:INFY", 7)
    value = subscription.encoded(INFY)
    record = SubscriptionRecord.model_validate_json(value)
    assert (record.token, record.mode, record.revision) == (INFY, Mode.FULL, 7)
    assert Subscription.decode(2, value) == subscription


def test_the_accounts_of_claims_are_kept_with_the_one_that_counts():
    accounts = {"b": "two", "a": "one"}
    modes = {"a": Mode.LTP, "b": Mode.FULL, "c": Mode.LTP}
    subscription = Subscription(2, modes, None, 7, None, accounts)
    value = subscription.encoded(INFY)
    record = SubscriptionRecord.model_validate_json(value)
    assert (record.account, record.accounts) == ("two", accounts)
    found = Subscription.decode(2, value)
    assert (found, found.account) == (subscription, "two")
    assert SubscriptionRecord.of(INFY, found) == record


@pytest.mark.parametrize("accounts", [{"b": "one"}, {"a": 1}, ["a"], "a"])
def test_accounts_that_no_claim_names_are_no_subscription(accounts):
    raw = {"claims": {"a": "ltp"}, "symbol": None, "revision": 1, "accounts": accounts}
    with pytest.raises(ValueError, match=r"no claim names|not a subscription"):
        Subscription.decode(0, json.dumps(raw).encode())


def test_a_symbol_may_be_unknown():
    subscription = Subscription(0, {"a": Mode.LTP}, None, 1)
    assert SubscriptionRecord.model_validate_json(subscription.encoded(1)).symbol is None
    assert Subscription.decode(0, subscription.encoded(1)) == subscription


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"claims": 1, "symbol": null, "revision": 1}',
        b'{"claims": {}, "symbol": null, "revision": 1}',
        b'{"claims": {"a": "depth"}, "symbol": null, "revision": 1}',
        b'{"claims": {"a": "ltp"}, "symbol": null}',
    ],
)
def test_what_is_no_subscription_says_so(value):
    with pytest.raises(ValueError, match=r"."):
        Subscription.decode(0, value)


def test_progress():
    progress = LeaderProgress(offset=12, revision=3, sequence=9)
    assert LeaderProgress.decode(progress.encoded()) == progress
    for value in (
        b"{}",
        b"[]",
        b"x",
        b'{"offset": null, "revision": 1, "sequence": 1}',
        b'{"offset": 1e999, "revision": 1, "sequence": 1}',
        b'{"offset": -5, "revision": 1, "sequence": 1}',
    ):
        with pytest.raises(ValueError, match=r"."):
            LeaderProgress.decode(value)


def test_remembered_replies_are_kept_to_the_byte():
    remembered = Remembered(41, "f" * 32, b'{"id":"a b", "status":"APPLIED"}')
    assert Remembered.decode(remembered.encoded()) == remembered
    for value in (b"x", b"1 {}", b'41 {"id":"a b"}', b"x %s {}" % (b"f" * 32)):
        with pytest.raises(ValueError, match=r"not|invalid"):
            Remembered.decode(value)


def test_reconnect():
    assert json.loads(reconnect_value("7", 5)) == {"id": "7", "time_ms": 5}
