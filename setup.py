"""Adds the compiled codec to the build; everything else stands in pyproject.toml.

KITE_CONNECTOR_BUILD=pure    leaves the extension out (a wheel for any platform)
KITE_CONNECTOR_BUILD=native  makes a failed compilation an error
default                      compiles where a compiler is, else installs the pure twin
"""

import os

from setuptools import Extension, setup

build = os.environ.get("KITE_CONNECTOR_BUILD", "auto")
if build not in {"auto", "native", "pure"}:
    raise SystemExit(f"KITE_CONNECTOR_BUILD={build}: must be auto, native or pure")

setup(
    ext_modules=[]
    if build == "pure"
    else [
        Extension(
            f"{package}._native",
            [f"{package.replace('.', '/')}/_native.pyx"],
            extra_compile_args=["-O3"],
            depends=[
                "connector/codec/_native.pxd",
                "connector/codec/body.pxd",
                "connector/codec/instruments.pxd",
                "connector/kite/wire/numbers.pxd",
                "connector/kafka/librdkafka.pxd",
                "connector/kafka/librdkafka.h",
            ],
            optional=build == "auto",
        )
        for package in (
            "connector.codec",
            "connector.codec.rows",
            "connector.kite.wire",
            "connector.kite.feed",
            "connector.kafka",
        )
    ]
)
