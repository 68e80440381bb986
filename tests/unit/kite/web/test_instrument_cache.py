import gzip
import os
import stat

import pytest

from connector.kite.web.instrument_cache import InstrumentCache
from tests.support.instruments import INFY, NIFTY, lines

ROOT = "https://api.kite.trade"


@pytest.fixture
def cache(tmp_path):
    return InstrumentCache(tmp_path / "made" / "instruments.csv.gz", ROOT)


def test_the_kept_list_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "above" / "instruments.csv"
    before = os.umask(0)
    try:
        InstrumentCache(path, ROOT).save("text", fetched_ms=1)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path)] == [0o700, 0o600]


def test_the_cache_gives_back_what_it_was_given(cache):
    assert cache.load() is None
    cache.save("old", fetched_ms=1)
    cache.save(lines(INFY), fetched_ms=7, etag='W/"1"')
    assert cache.load() == (lines(INFY), 7, 'W/"1"')
    assert list(cache.path.parent.iterdir()) == [cache.path]


def test_a_list_of_another_api_is_none(cache):
    cache.save(lines(INFY), fetched_ms=7)
    assert InstrumentCache(cache.path, "http://127.0.0.1:8766").load() is None
    assert cache.load() is not None


def test_a_damaged_cache_is_none(cache):
    cache.save(lines(INFY, NIFTY), fetched_ms=7)
    whole = cache.path.read_bytes()
    for size in range(len(whole)):
        cache.path.write_bytes(whole[:size])
        assert cache.load() is None
    for place in range(10, len(whole)):  # past gzip's own header, whose time and system are free
        cache.path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert cache.load() is None


@pytest.mark.parametrize(
    "fetched_ms", ["-1", "1e300", "Infinity", "NaN", "null", '"7"', "true", f"1{'0' * 40}"]
)
def test_a_cache_of_no_time_is_none(cache, fetched_ms):
    cache.save("text", fetched_ms=7)
    whole = gzip.decompress(cache.path.read_bytes())
    assert cache.load().fetched_ms == 7
    changed = whole.replace(b'"fetched_ms": 7', f'"fetched_ms": {fetched_ms}'.encode())
    assert changed != whole
    cache.path.write_bytes(gzip.compress(changed))
    assert cache.load() is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}\n",
        "[]\n",
        '{"format": "of another time"}\n',
        '{"format": 1, "characters": 0}\n',
    ],
)
def test_a_cache_of_another_kind_is_none(cache, content):
    cache.path.parent.mkdir()
    cache.path.write_bytes(gzip.compress(content.encode()))
    assert cache.load() is None


def test_a_cache_that_unpacks_to_far_too_much_is_none(cache, monkeypatch):
    cache.save(lines(INFY), fetched_ms=7)
    size = len(gzip.decompress(cache.path.read_bytes()))
    monkeypatch.setattr("connector.kite.web.instrument_cache.MAX_CACHE_BYTES", size)
    assert cache.load() is not None
    monkeypatch.setattr("connector.kite.web.instrument_cache.MAX_CACHE_BYTES", size - 1)
    assert cache.load() is None


def test_a_pipe_in_the_place_of_the_cache_is_none(cache):
    cache.path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(cache.path)
    assert cache.load() is None


def test_a_failed_save_leaves_the_old_list(cache, monkeypatch):
    cache.save(lines(INFY), fetched_ms=7)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("connector.kite.web.instrument_cache.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        cache.save("new", fetched_ms=8)
    assert cache.load().fetched_ms == 7
    assert list(cache.path.parent.iterdir()) == [cache.path]
