"""Spools over one directory and a disk that fails as it is told."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import strategies as st

from connector.kafka.spool import READ_PATIENCE_SECONDS, Record, Spool
from connector.testing import FakeClock
from tests.support.disk import Disk

MIB = 1024 * 1024


def record(number: int, size: int = 50) -> Record:
    return Record("t", b"%d" % number, bytes(size), 1_000_000 + number)


def numbers(records: list[Record]) -> list[int]:
    return [int(record.key) for record in records]


def drained(spool) -> list[Record]:
    out = []
    while records := spool.peek():
        out += records
        spool.advance(len(records))
    return out


class Bench:
    """Opens spools over one directory and one disk, and adds up what they lose."""

    def __init__(self, directory):
        self.directory = directory
        self.clock = FakeClock()
        self.disk = Disk(self.clock)
        self.lost = Counter()
        self.open_spools = []

    def __call__(self, directory=None, max_bytes=MIB, **options):
        spool = Spool(
            directory or self.directory,
            max_bytes,
            self._note,
            **{"files": self.disk, "monotonic": self.clock.monotonic, **options},
        )
        spool.open()
        self.open_spools.append(spool)
        return spool

    def _note(self, reason, dropped):
        assert dropped.count > 0
        assert dropped.first_timestamp_ms <= dropped.last_timestamp_ms
        self.lost[reason] += dropped.count

    def found(self):
        """What a process finds that starts when this one is killed."""
        copy = Path(tempfile.mkdtemp())
        try:
            shutil.copytree(self.directory, copy / "spool")
            fresh = Spool(copy / "spool", 1 << 40, monotonic=self.clock.monotonic)
            fresh.open()
            waiting = fresh.records
            read = numbers(drained(fresh))
            fresh.close()
        finally:
            shutil.rmtree(copy)
        assert waiting >= len(read)
        return read


def fill(spool, records, size=50):
    for number in records:
        spool.append(record(number, size))
    spool.flush()


def wait_for(spool, bench):
    """What comes out while nothing hurries."""
    out = []
    for _ in range(40):
        records = spool.peek()
        out += numbers(records)
        spool.advance(len(records))
        bench.clock.now += READ_PATIENCE_SECONDS / 4
    return out


STEP = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 40), st.integers(0, 400)),
    st.tuples(st.just("flush"), st.just(0), st.just(0)),
    st.tuples(st.just("read"), st.integers(1, 60), st.just(0)),
    st.tuples(st.just("return"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("confirm"), st.just(0), st.just(0)),
    st.tuples(st.just("restart"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("kill"), st.just(0), st.just(0)),
)
