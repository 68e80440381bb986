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


async def test_it_is_asked_for_once_a_day(feed, tmp_path):
    file = tmp_path / "kept"
    first = await InstrumentList.load(cache_file=file, root=feed.rest_url)
    assert first["NSE:INFY"].instrument_token == 408065
    assert first.fetched_ms is not None
    again = await InstrumentList.load(cache_file=file, root=NOWHERE, max_age_seconds=3600)
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
    await InstrumentList.load(root=feed.rest_url)
    assert (tmp_path / "kite-connector" / "instruments.gz").exists()


async def test_an_old_one_is_better_than_none(feed, tmp_path, monkeypatch, caplog):
    file = tmp_path / "kept"
    monkeypatch.setattr("connector.kite.web.rest.stamina.retry_context", once)
    with pytest.raises(FeedUnreachableError):
        await InstrumentList.load(cache_file=file, root=NOWHERE)
    await InstrumentList.load(cache_file=file, root=feed.rest_url)
    old = await InstrumentList.load(cache_file=file, root=NOWHERE, max_age_seconds=0)
    assert "NSE:INFY" in old


async def test_a_damaged_file_is_loaded_anew(feed, tmp_path):
    file = tmp_path / "kept"
    InstrumentCache(file).save("no list at all\n", fetched_ms=1)
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
