import errno
from collections import Counter

from structlog.testing import capture_logs

from connector.kafka.producer import ProducerState
from connector.kafka.spool import Record, Spool
from connector.settings.models import SpoolSettings
from tests.property.test_kills import on_disk
from tests.support.damage import flip_a_bit
from tests.support.disk import Disk
from tests.support.producers import balanced, send, settle, written


async def test_a_disk_that_does_not_take_it_loses_nothing_that_fits_into_memory(
    start, cluster, clock
):
    disk = Disk()
    producer = await start(files=disk)
    send(producer, range(120))
    producer.poll()
    disk.fail("write", "create", code=errno.ENOSPC)
    send(producer, range(120, 200))
    for _ in range(20):
        producer.poll()
        clock.now += 0.1
    counts = balanced(producer)
    assert (counts.in_flight, counts.spooled, counts.dropped) == (180, 20, {})
    assert "No space left on device" in (producer.spool_problem or "")
    # Kafka is back, and the disk is not: all of it goes straight there
    await settle(producer, cluster, clock)
    assert producer.state is ProducerState.DIRECT
    send(producer, range(200, 250))
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(250))
    disk.mend()
    for _ in range(20):
        producer.poll()
        clock.now += 1
    assert producer.spool_problem is None


async def test_a_client_that_breaks_while_the_disk_is_full_loses_nothing(start, cluster, clock):
    disk = Disk()
    producer = await start(files=disk)
    disk.fail("write", "create", code=errno.ENOSPC)
    send(producer, range(90))
    cluster.current.break_down()
    send(producer, range(90, 120))
    for _ in range(3):
        producer.poll()
        balanced(producer)
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(120))
    assert balanced(producer).dropped == {}


async def test_a_disk_that_stays_full_is_logged_by_its_edges(start, cluster, clock):
    disk = Disk()
    lost = []
    producer = await start(files=disk, on_dropped=lambda *what: lost.append(what))
    disk.fail("write", "create", code=errno.ENOSPC)
    send(producer, range(100))
    with capture_logs() as lines:
        for _ in range(400):
            producer.produce_all([("t", b"k", bytes(2000))] * 20, 1_700_000_000_000)
            producer.poll()
            clock.now += 0.05
    dropped = balanced(producer).dropped
    assert dropped == {"spool_write": sum(each.count for _, each in lost)}
    assert dropped["spool_write"] > 0
    assert Counter(line["event"] for line in lines) == {
        "producer_queue_full": 1,
        "spool_write_failed": 1,
        "records_dropped": 1,
    }


async def test_what_a_full_disk_kept_in_memory_is_lost_with_the_process_and_counted(start, cluster):
    disk = Disk()
    producer = await start(files=disk)
    send(producer, range(150))
    producer.poll()
    disk.fail("write", "create", code=errno.ENOSPC)
    send(producer, range(150, 160))
    assert await producer.close(0) is False
    counts = balanced(producer)
    assert (counts.in_flight, counts.spooled, counts.dropped) == (0, 50, {"spool_write": 110})


async def test_a_spool_that_goes_with_its_pod_is_lost_at_the_stop(start, cluster, tmp_path):
    lost = []
    producer = await start(
        SpoolSettings(directory=tmp_path, ephemeral=True),
        on_dropped=lambda *what: lost.append(what),
    )
    send(producer, range(150))
    assert await producer.close(0) is False
    counts = balanced(producer)
    assert (counts.spooled, counts.dropped) == (0, {"ephemeral_spool": 150})
    assert [(reason, each.count) for reason, each in lost] == [("ephemeral_spool", 150)]
    assert lost[0][1].first_timestamp_ms == lost[0][1].last_timestamp_ms == 1_700_000_000_000
    # a container that is started again in its pod finds it all the same
    assert (await start()).counts.found == 150


async def test_a_spool_that_goes_with_its_pod_and_is_empty_is_a_clean_stop(
    start, cluster, clock, tmp_path
):
    producer = await start(SpoolSettings(directory=tmp_path, ephemeral=True))
    send(producer, range(150))
    await settle(producer, cluster, clock)
    assert await producer.close(0) is True
    assert balanced(producer).dropped == {}


async def test_what_a_damaged_file_held_is_found_and_lost(start, cluster, clock, tmp_path):
    before = Spool(tmp_path, 1024 * 1024)
    before.open()
    for number in range(3):
        before.append(Record("t", b"k", b"%d" % number, 5))
    before.close()
    (file,) = tmp_path.glob("*.spool")
    flip_a_bit(file, -1)
    lost = []
    producer = await start(on_dropped=lambda *what: lost.append(what))
    await settle(producer, cluster, clock)
    counts = balanced(producer)
    assert (counts.found, counts.delivered, counts.dropped) == (3, 2, {"spool_unreadable": 1})
    assert [(reason, dropped.count) for reason, dropped in lost] == [("spool_unreadable", 1)]


async def test_what_a_disk_in_trouble_did_not_take_back_is_there_once_it_is_mended(
    start, cluster, clock
):
    """Nobody acknowledges anything, and nothing new comes that would be written too."""
    disk = Disk()
    producer = await start(files=disk)
    send(producer, range(90))
    for _ in range(10):
        clock.now += 1
        producer.poll()
    send(producer, range(90, 200))
    producer.poll()
    assert balanced(producer).spooled == 110
    disk.fail("write", "create", code=errno.ENOSPC)
    for _ in range(60):
        clock.now += 1
        producer.poll()
    disk.mend()
    for _ in range(60):
        clock.now += 1
        producer.poll()
    assert {int(value) for value in on_disk(producer._spool.directory)} == set(range(200))
    await settle(producer, cluster, clock)
    assert written(cluster) == list(range(200))
