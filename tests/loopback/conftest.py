import aiohttp
import pytest
from aiohttp import web

from connector.embedded.registry import EmbeddedRegistry
from tests.support.replicas import Steering, broker


@pytest.fixture
def kafka():
    """A broker inside this process, with the topics of a small cluster."""
    with broker() as running:
        yield running


@pytest.fixture
def steering(kafka):
    steers = Steering(kafka.bootstrap_servers)
    yield steers
    steers.close()


@pytest.fixture
async def registry():
    async with EmbeddedRegistry() as registry:
        yield registry


@pytest.fixture
async def answering():
    """A server that answers each request by a function of it."""
    runners = []

    async def answering(handler):
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield answering
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def get():
    async with aiohttp.ClientSession() as session:

        async def ask(url, **headers):
            async with session.get(url, headers=headers) as response:
                return response.status, await response.text(), response.content_type

        yield ask
