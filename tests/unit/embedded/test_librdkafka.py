"""Where librdkafka's shared library is looked for."""

import ctypes.util
import importlib.metadata

from connector.embedded import librdkafka


def test_the_library_that_the_process_has_loaded_comes_first_and_is_one():
    first, *rest = librdkafka.candidates()
    assert "librdkafka" in first.name
    assert ctypes.CDLL(str(first)).rd_kafka_version() >= 0x020B0000
    assert first not in rest


def test_the_wheels_comes_before_one_that_another_module_has_loaded(monkeypatch, tmp_path):
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 r-xp 0 08:01 42    /usr/lib/librdkafka.so.1\n")
    monkeypatch.setattr(librdkafka, "MAPS", maps)
    first, second, *_ = librdkafka.candidates()
    assert "confluent_kafka" in str(first)
    assert str(second) == "/usr/lib/librdkafka.so.1"


def test_where_the_wheel_brings_none_the_systems_own_is_left(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "files", lambda _: None)
    monkeypatch.setattr(librdkafka, "MAPS", librdkafka.MAPS / "missing")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.1")
    assert [str(path) for path in librdkafka.candidates()] == ["librdkafka.so.1"]
