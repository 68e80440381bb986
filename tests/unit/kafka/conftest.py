import pytest

from connector.kafka.producer import RecordProducer
from connector.settings.models import KafkaSettings, SpoolSettings
from connector.testing import FakeClock
from tests.support.kafka_client import WAYS, FakeCluster
from tests.support.producers import producers
from tests.support.spooling import Bench


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "spool")
    yield bench
    bench.disk.mend()
    for spool in bench.open_spools:
        spool.close()


@pytest.fixture
def spool(bench):
    return bench(segment_bytes=4096)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def cluster(monkeypatch, way):
    cluster = FakeCluster()
    cluster.install(monkeypatch, way)
    return cluster


@pytest.fixture
async def start(clock, cluster, tmp_path):
    async with producers() as started:

        async def start(spool=None, **options):
            return await started(
                RecordProducer(
                    KafkaSettings(queue_max_messages=1000),
                    spool or SpoolSettings(directory=tmp_path),
                    client_id="test",
                    monotonic=clock,
                    **{"clock": lambda: 1_700_000_000.25 + clock.now - 1000, **options},
                )
            )

        yield start
        for client in cluster.clients:
            client.acknowledge(10_000)
