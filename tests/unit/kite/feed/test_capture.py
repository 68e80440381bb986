import contextlib
import gzip
import os
import stat

import pytest

from connector.errors import CaptureError
from connector.kite.feed.capture import (
    MAGIC,
    MAX_HEADER_BYTES,
    CapturedMessage,
    CaptureReader,
    CaptureWriter,
    CapturingHandler,
    PayloadKind,
)
from connector.kite.feed.events import ConnectionEvent, EventType
from connector.kite.wire.models import Mode, TextMessage
from connector.testing import FakeClock

RECORDS = [
    CapturedMessage(1_788_252_000_000_000, 0, PayloadKind.BINARY, b"\x00\x01\x00\x08abcdefgh"),
    CapturedMessage(1_788_252_000_000_007, 2, PayloadKind.TEXT, '{"type":"ä"}'.encode()),
    CapturedMessage(1_788_252_001_000_000, 65535, PayloadKind.BINARY, b""),
]


def write(path, records=RECORDS):
    with CaptureWriter(path, created_us=1, comment="a test") as writer:
        for record in records:
            text = record.kind is PayloadKind.TEXT
            payload = record.payload.decode() if text else record.payload
            writer.write(record.receive_time_us, record.slot, payload)
    assert writer.records == len(records)
    return path


@pytest.fixture(params=["feed.cap", "feed.cap.gz"])
def path(request, tmp_path):
    return write(tmp_path / request.param)


def test_what_is_written_is_read(path):
    reader = CaptureReader(path)
    assert list(reader) == list(reader) == RECORDS
    assert reader.truncated is False


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_it_is_for_its_owner_alone(tmp_path, umask):
    before = os.umask(umask)
    try:
        written = [write(tmp_path / "a.cap"), write(tmp_path / "a.cap.gz")]
        (tmp_path / "old.cap").write_text("old")
        (tmp_path / "old.cap").chmod(0o644)
        written.append(write(tmp_path / "old.cap"))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}


def test_gzip_goes_by_the_name(tmp_path):
    plain, zipped = write(tmp_path / "a.cap"), write(tmp_path / "a.cap.gz")
    assert plain.read_bytes() == gzip.decompress(zipped.read_bytes())


def test_a_cut_off_end_is_the_end(path):
    whole = path.read_bytes()
    for size in range(len(whole) - 1, len(whole) - 40, -1):
        path.write_bytes(whole[:size])
        reader = CaptureReader(path)
        records = list(reader)
        assert records == RECORDS[: len(records)]
        assert reader.truncated or len(records) < len(RECORDS)


def test_cut_anywhere_it_is_a_prefix_or_a_documented_error(path):
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            records = list(CaptureReader(path))
        except CaptureError:
            continue
        assert records == RECORDS[: len(records)]


def test_damaged_anywhere_only_documented_errors_come_out(path):
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(CaptureError):
            list(CaptureReader(path))


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"KITECAP1\n", b"KITECAP1\n[]\n", b"KITECAP1\n" + b"[" * 5000, b"\x1f\x8b"],
)
def test_other_files_are_refused(tmp_path, content):
    for name in ("a.cap", "a.cap.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CaptureError):
            list(CaptureReader(tmp_path / name))


def test_what_is_no_file_is_not_waited_for(tmp_path):
    for name in ("a.cap", "a.cap.gz"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(CaptureError, match="is a pipe, not a file"):
            list(CaptureReader(tmp_path / name))


def test_a_header_without_end_is_none(tmp_path):
    for size, good in ((MAX_HEADER_BYTES, True), (MAX_HEADER_BYTES + 1, False)):
        header = b'{"comment":"' + b"a" * (size - 15) + b'"}\n'
        (tmp_path / "a.cap").write_bytes(MAGIC + header)
        expected = (
            contextlib.nullcontext()
            if good
            else pytest.raises(CaptureError, match="its header is not an object")
        )
        with expected:
            assert list(CaptureReader(tmp_path / "a.cap")) == []


def test_a_writer_has_limits(tmp_path):
    writer = CaptureWriter(tmp_path / "a.cap", created_us=0)
    with pytest.raises(ValueError, match="not open"):
        writer.write(1, 0, b"")
    with writer, pytest.raises(ValueError, match="does not fit"):
        writer.write(1, 0, bytes(16 * 2**20 + 1))
    writer.close()


def test_much_data_reaches_the_disk_before_the_end(tmp_path):
    path = tmp_path / "a.cap.gz"
    with CaptureWriter(path, created_us=0) as writer:
        for number in range(10_000):
            writer.write(number, 0, bytes(100))
        killed = path.read_bytes()
    path.write_bytes(killed)
    reader = CaptureReader(path)
    records = list(reader)
    assert reader.truncated
    assert len(records) > 7_000


class Inner:
    def __init__(self):
        self.calls = []

    def opened(self, session_id):
        self.calls.append(("opened", session_id))

    def expect(self, tokens):
        self.calls.append(("expect", tokens))

    def forget(self, tokens):
        self.calls.append(("forget", tokens))

    def frame(self, data, receive_time_us):
        self.calls.append(("frame", data, receive_time_us))
        return [(408065, Mode.FULL)]

    def message(self, message, raw):
        self.calls.append(("message", message, raw))

    def event(self, event):
        self.calls.append(("event", event))


class HoldingInner(Inner):
    def flow(self, flow):
        self.calls.append(("flow", flow))


def drive(handler):
    event = ConnectionEvent(EventType.CONNECTED, slot=3, time_ms=1)
    handler.opened(5)
    handler.expect([1])
    handler.forget([2])
    assert handler.frame(b"frame", 10) == [(408065, Mode.FULL)]
    handler.message(TextMessage("x"), '{"type":"x"}')
    handler.event(event)
    return event


def test_a_recording_handler_hands_everything_on(tmp_path):
    inner = HoldingInner()
    with CaptureWriter(tmp_path / "a.cap", created_us=0) as writer:
        handler = CapturingHandler(3, inner, writer, clock=FakeClock(11))
        handler.flow("flow")
        event = drive(handler)
    assert inner.calls == [
        ("flow", "flow"),
        ("opened", 5),
        ("expect", [1]),
        ("forget", [2]),
        ("frame", b"frame", 10),
        ("message", TextMessage("x"), '{"type":"x"}'),
        ("event", event),
    ]
    assert list(CaptureReader(tmp_path / "a.cap")) == [
        CapturedMessage(10, 3, PayloadKind.BINARY, b"frame"),
        CapturedMessage(11, 3, PayloadKind.TEXT, b'{"type":"x"}'),
    ]


def test_text_may_be_left_out(tmp_path):
    with CaptureWriter(tmp_path / "a.cap", created_us=0) as writer:
        handler = CapturingHandler(0, Inner(), writer, clock=FakeClock(11), text=False)
        handler.flow("an inner handler that holds nothing is not given it")
        drive(handler)
    assert [record.kind for record in CaptureReader(tmp_path / "a.cap")] == [PayloadKind.BINARY]


def test_a_full_disk_ends_the_recording_and_not_the_feed(tmp_path):
    class Full:
        def write(self, *_):
            raise OSError(28, "No space left on device")

    inner = Inner()
    handler = CapturingHandler(0, inner, Full(), clock=FakeClock(11))
    drive(handler)
    assert handler.error.errno == 28
    assert len(inner.calls) == 6
