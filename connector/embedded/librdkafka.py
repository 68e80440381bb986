"""Where librdkafka's shared library is: the one that confluent-kafka uses, best of all."""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.metadata
import re
from pathlib import Path
from typing import Final

MAPS: Final = Path("/proc/self/maps")
"""The files that Linux has loaded into this process."""


def candidates() -> list[Path]:
    """Where librdkafka may be, best first: in the wheel, loaded already, in the system."""
    # it loads the library: the wheel's where there is one, else one that is then found among the
    # files of the process, beside any that other programs' modules have loaded
    importlib.import_module("confluent_kafka.cimpl")
    files = importlib.metadata.files("confluent-kafka") or []
    found = [
        Path(str(file.locate()))
        for file in files
        if re.match(r"librdkafka.*(\.so|\.dylib|\.dll)", file.name)
    ]
    if MAPS.exists():
        found += [
            Path(line.split(maxsplit=5)[5])
            for line in MAPS.read_text().splitlines()
            if re.search(r"/librdkafka[^/]*\.so[^/]*$", line)
        ]
    system = ctypes.util.find_library("rdkafka")
    if system:
        found.append(Path(system))
    # each once: what is loaded is most often the wheel's
    return list(dict.fromkeys(found))
