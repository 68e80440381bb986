"""The list is loaded over REST, kept, and taken from where it is kept."""

from pathlib import Path

import pytest

from connector import FeedUnreachableError, InstrumentFormatError, InstrumentList
from connector.kite.web.instrument_cache import InstrumentCache
from connector.simulator import SimulatorConfig, SimulatorServer

CONFIG = SimulatorConfig(stepped=True, instruments=300)
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
async def feed():
    async with SimulatorServer(CONFIG) as server:
        yield server


async def test_it_is_asked_for_once_a_day(tmp_path):
    file = tmp_path / "kept"
    async with SimulatorServer(CONFIG) as feed:
        root = feed.rest_url
        first = await InstrumentList.load(cache_file=file, root=root)
    assert first["NSE:INFY"].instrument_token == 408065
    assert first.fetched_ms is not None
    again = await InstrumentList.load(cache_file=file, root=root, max_age_seconds=3600)
    assert list(again) == list(first)
    assert again.fetched_ms == first.fetched_ms


async def test_a_user_without_a_home_keeps_none(feed, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert len(await InstrumentList.load(root=feed.rest_url))


async def test_its_own_place_is_in_the_users_cache(feed, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("connector.kite.web.instrument_list.ROOT", feed.rest_url)
    await InstrumentList.load(root=feed.rest_url)
    assert (tmp_path / "kite-connector" / "instruments.gz").exists()


async def test_the_users_cache_is_for_kites_own_list(feed, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    await InstrumentList.load(root=feed.rest_url)
    assert list(tmp_path.iterdir()) == []


async def test_a_kept_list_of_another_api_is_not_used(feed, tmp_path, monkeypatch):
    monkeypatch.setattr("connector.kite.web.rest.stamina.retry_context", once)
    await InstrumentList.load(cache_file=tmp_path / "kept", root=feed.rest_url)
    with pytest.raises(FeedUnreachableError):
        await InstrumentList.load(cache_file=tmp_path / "kept", root=NOWHERE)


async def test_an_old_one_is_better_than_none(tmp_path, monkeypatch):
    file = tmp_path / "kept"
    monkeypatch.setattr("connector.kite.web.rest.stamina.retry_context", once)
    async with SimulatorServer(CONFIG) as feed:
        root = feed.rest_url
        await InstrumentList.load(cache_file=file, root=root)
    old = await InstrumentList.load(cache_file=file, root=root, max_age_seconds=0)
    assert "NSE:INFY" in old


async def test_a_damaged_file_is_loaded_anew(feed, tmp_path):
    file = tmp_path / "kept"
    InstrumentCache(file, feed.rest_url).save("no list at all\n", fetched_ms=1)
    loaded = await InstrumentList.load(cache_file=file, root=feed.rest_url, max_age_seconds=1e12)
    assert "NSE:INFY" in loaded


async def test_what_cannot_be_kept_is_used(feed, tmp_path):
    (tmp_path / "file").touch()
    loaded = await InstrumentList.load(cache_file=tmp_path / "file" / "below", root=feed.rest_url)
    assert "NSE:INFY" in loaded


async def test_what_is_no_list_is_an_error(tmp_path):
    (tmp_path / "list.csv").write_text("nothing\n")
    config = CONFIG.model_copy(update={"instruments_file": tmp_path / "list.csv"})
    async with SimulatorServer(config) as server:
        with pytest.raises(InstrumentFormatError):
            await InstrumentList.load(cache_file=tmp_path / "kept", root=server.rest_url)


async def once(**_):
    """A retry without pauses: one attempt."""
    import contextlib

    yield contextlib.nullcontext()
