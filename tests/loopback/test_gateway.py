"""Something on the way to Kite answers in its place: not the token's fault, and soon over."""

import pytest

from connector.simulator import FaultKind, FaultSpec
from connector.testing import until
from tests.support.stack import TOPICS, delivered, service, stack, streaming

WORDS = "Access denied by the Example Gateway"


@pytest.mark.parametrize("status", [403, 401, 407, 451, 503])
async def test_a_gateways_page_is_told_and_streaming_goes_on_with_the_same_token(status):
    async with stack() as around, service(around) as running:
        # enough for each of the three connections to meet some of them
        gateway = FaultSpec(kind=FaultKind.GATEWAY, status=status, count=30, text=WORDS)
        await around.simulator.inject(gateway)
        await around.simulator.inject("abort")
        await until(lambda: any(WORDS in reason for reason in running.status().not_ready))
        assert not any("login" in reason for reason in running.status().not_ready)
        states = {connection.state for connection in running.status().connections}
        assert "waiting_for_token" not in states
        await streaming(around, running)
        await delivered(running)
        events = (await around.records(TOPICS.events))[TOPICS.events]
        told = [event.value["reason"] for event in events if event.value["type"] == "backing_off"]
        assert told
        assert all(WORDS in reason and f"HTTP {status}" in reason for reason in told)


async def test_kites_own_refusal_waits_for_a_login():
    async with stack() as around, service(around) as running:
        around.simulator.expire_token()
        await around.simulator.inject("abort")
        await until(
            lambda: {one.state for one in running.status().connections} == {"waiting_for_token"}
        )
        assert all("kite-connector login" in reason for reason in running.status().not_ready)
