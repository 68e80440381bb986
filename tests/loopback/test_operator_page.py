"""The page's answers over a whole service, between a simulated feed and an embedded broker."""

import asyncio
import json

import aiohttp
from structlog.testing import capture_logs

from connector.control.client import ControlClient, new_id
from connector.control.commands import COMMAND
from connector.kafka.tail import written_records
from connector.service import page_files
from connector.simulator import SimulatorConfig
from connector.testing import until
from tests.support.stack import TOPICS, service, stack, streaming

STEPPED = SimulatorConfig(stepped=True, instruments=200)


async def next_event(response, wanted, matches=lambda document: True):
    """The next event of this name that matches."""
    name = ""
    async for line in response.content:
        text = line.decode().rstrip("\n")
        if text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: ") and name == wanted:
            document = json.loads(text.removeprefix("data: "))
            if matches(document):
                return document
    raise AssertionError("the stream has ended")


async def asked(session, url):
    async with session.get(url) as response:
        return response.status, await response.json()


async def test_a_viewer_sees_slots_watchlists_commands_and_the_tick_of_an_instrument():
    async with stack(STEPPED, cluster={"enabled": True}) as around:
        listing = around.simulator.universe.listings[0]
        token, name = listing.instrument_token, f"{listing.exchange}:{listing.tradingsymbol}"
        async with service(around) as running, aiohttp.ClientSession(read_bufsize=2**20) as session:
            url = running.http.url
            async with session.get(f"{url}/") as page:
                assert page.headers["Content-Security-Policy"] == (
                    page_files.CONTENT_SECURITY_POLICY
                )
            async with session.get(f"{url}/page/stream") as response:
                command = COMMAND.validate_python(
                    {"id": new_id(), "type": "subscribe", "watchlist": "desk",
                     "instruments": [token], "mode": "full", "by": "priya"}
                )  # fmt: skip
                await in_client(around, lambda client: client.send(command))
                # three topics, and partitions of one of them: nothing orders what is read of these
                desk = {"name": "desk", "ltp": 0, "quote": 0, "full": 1}
                view = await next_event(
                    response,
                    "view",
                    lambda view: (
                        view["commands"]
                        and view["commands"][0]["reply"]
                        and desk in view["watchlists"]
                        and view["events_of_all"]
                    ),
                )
                assert view["commands"][0]["reply"]["status"] == "APPLIED"
                snapshot = await next_event(
                    response, "snapshot", lambda shown: shown["leader"] is not None
                )
                assert all(slot["here"] for slot in snapshot["slots"])
                assert snapshot["status"]["accounting"]["balanced"]
                _, found = await asked(session, f"{url}/page/instruments?q={token}")
                assert token in [one["token"] for one in found["found"]]
                await asked(session, f"{url}/page/instrument?token={token}")
                await streaming(around, running)
                _, shown = await asked(session, f"{url}/page/instrument?token={token}")
                assert shown["claims"]["desk"] == "full"
                assert shown["changed_by"] == {
                    "type": "subscribe",
                    "by": "priya",
                    "time_ms": view["commands"][0]["time_ms"],
                }
                assert shown["tick"]["last_price"] > 0
                assert shown["symbol"] in (None, name)
            await until(lambda: running.page.viewers == 0)


async def test_looking_logs_nothing_and_writes_nothing_to_kafka():
    async with (
        stack(
            STEPPED,
            cluster={"enabled": True},
            instruments=[{"instruments": [408065]}],
            instrument_master={"load": False},
        ) as around,
        service(around) as running,
        aiohttp.ClientSession(read_bufsize=2**20) as session,
    ):
        await until(
            lambda: (
                running.status().accounting.received > 0
                and running.status().accounting.in_flight == 0
                and (running.status().cluster["commands"] or {}).get("serving")
                and sum(one.confirmed for one in running.status().connections)
            )
        )
        topics = [TOPICS.control, TOPICS.replies, TOPICS.subscriptions]
        written = await written_records(around.settings.kafka, topics)
        with capture_logs() as logs:
            async with session.get(f"{running.http.url}/page/stream") as response:
                await next_event(response, "view", lambda view: view["loaded"])
            await asked(session, f"{running.http.url}/page/instruments?q=NSE:NONE")
            await asked(session, f"{running.http.url}/page/instrument?token=257")
        assert logs == []
        assert await written_records(around.settings.kafka, topics) == written


async def in_client(around, act):
    def run():
        with ControlClient(around.settings.kafka, TOPICS) as client:
            return act(client)

    return await asyncio.to_thread(run)


async def test_an_operator_tries_a_command_and_applies_what_was_shown(tmp_path):
    file = tmp_path / "token"
    file.write_text("operator-" + "t" * 24)
    async with stack(STEPPED, cluster={"enabled": True}) as around:
        settings = around.changed(http={"port": 0, "operator_token_file": file})
        async with service(around, settings) as running, aiohttp.ClientSession() as session:

            async def send(**fields):
                headers = {"Authorization": f"Bearer {file.read_text()}"}
                url = f"{running.http.url}/page/command"
                async with session.post(url, json=fields, headers=headers) as response:
                    return response.status, await response.json()

            command = {"type": "subscribe", "watchlist": "desk", "instruments": [408065]}
            status, tried = await send(**command, dry_run=True)
            assert (status, tried["reply"]["status"], tried["reply"]["accepted"]) == (
                200, "APPLIED", 1,
            )  # fmt: skip
            revision = tried["expected_revision"]
            status, done = await send(**command, expected_revision=revision)
            assert (status, done["reply"]["status"]) == (200, "APPLIED")
            status, late = await send(type="delete", watchlist="desk", expected_revision=revision)
            assert (status, late["reply"]["status"]) == (200, "REJECTED")


async def test_without_a_token_the_page_takes_no_command():
    async with (
        stack(STEPPED, cluster={"enabled": True}) as around,
        service(around) as running,
        aiohttp.ClientSession() as session,
        session.post(f"{running.http.url}/page/command", json={"type": "rebalance"}) as response,
    ):
        assert response.status == 405
