"""Where librdkafka's shared library is looked for."""

import ctypes.util
import importlib.metadata

from connector.embedded import librdkafka


def test_the_library_that_the_process_has_loaded_comes_first_and_is_one():
    first, *rest = librdkafka.candidates()
    assert "librdkafka" in first.name
    assert ctypes.CDLL(str(first)).rd_kafka_version() >= 0x020B0000
    assert first not in rest


def test_where_the_wheel_brings_none_the_systems_own_is_left(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "files", lambda _: None)
    monkeypatch.setattr(librdkafka, "MAPS", librdkafka.MAPS / "missing")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.1")
    assert [str(path) for path in librdkafka.candidates()] == ["librdkafka.so.1"]
