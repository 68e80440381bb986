"""`kite-connector check-config --connect` against the simulator and the embedded broker."""

from connector.embedded.broker import EmbeddedBroker
from connector.service.trial import trial
from tests.support.stack import stack


async def findings(settings):
    return {one.what: one async for one in trial(settings)}


async def test_all_that_a_start_reaches_is_found():
    async with stack() as around:
        found = await findings(around.settings)
    assert {what: one.ok for what, one in found.items()} == {
        "Kafka": True,
        "schema registry": True,
        "token, main": True,
        "REST, main": True,
        "names": True,
    }, found
    assert "topics are there" in found["Kafka"].told
    assert (
        "9 missing" in found["schema registry"].told or "missing" in found["schema registry"].told
    )
    assert "200 instruments" in found["REST, main"].told
    assert "5 instruments of the settings, there is room for 9000" in found["names"].told


async def test_each_trouble_is_told_and_ends_nothing():
    async with stack() as around:
        account = {"api_key": "simulated_key", "access_token": "of_yesterday"}
        settings = around.changed(accounts=[account], registry={"url": "http://127.0.0.1:1"})
        around.broker.set_down()
        found = await findings(settings)
    assert {what: one.ok for what, one in found.items()} == {
        "Kafka": False, "schema registry": False, "token, main": True, "REST, main": False,
        "names": False,
    }  # fmt: skip
    assert found["names"].told == "not tried, since there is no list of instruments"
    assert "of_yesterday" not in str(found)


async def test_names_that_are_none_and_topics_that_are_not_there():
    async with stack() as around:
        instruments = [{"mode": "full", "instruments": ["NSE:INFY", "NSE:NONE"]}]
        with EmbeddedBroker() as empty:
            found = await findings(
                around.changed(
                    instruments=instruments, kafka={"bootstrap_servers": empty.bootstrap_servers}
                )
            )
    assert found["names"].told.endswith("unknown: NSE:NONE (not in the list)")
    assert not found["names"].ok
    assert found["Kafka"].told == "answers; topics are missing, and the first start makes them"


async def test_without_a_token_it_is_said_what_was_not_tried():
    async with stack() as around:
        found = await findings(around.changed(accounts=[{"api_key": "simulated_key"}]))
    assert {what: one.ok for what, one in found.items()} == {
        "Kafka": True, "schema registry": True, "token, main": False, "REST, main": False,
        "names": False,
    }  # fmt: skip
    assert found["REST, main"].told == "not tried, since there is no token"
