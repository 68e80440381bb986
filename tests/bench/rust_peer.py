"""Builds the Rust manager (kiteticker-async-manager) for the benchmark: its address is fixed in its
source, so a copy is made in which the environment names it. Nothing else of it is changed, but that
it needs no TLS here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

CRATE = "kiteticker-async-manager"
PROGRAM = Path(__file__).parent / "rust_manager"
BUILD = Path(__file__).parents[2] / "build" / "rust_manager"
SOURCE = PROGRAM / "src/main.rs"
PROGRAM_BUILT = BUILD / "target/release/rust-manager"
ROOT_VARIABLE = "KITE_ROOT"


def found() -> Path | None:
    """The program, where it is built or cargo can build it; else None, with a line that says so."""
    if not PROGRAM_BUILT.exists() and shutil.which("cargo") is None:
        print("no cargo: not beside the Rust manager", file=sys.stderr)
        return None
    return build()


def build() -> Path:
    """The program, built on the first call, which takes minutes.

    Raises:
        FileNotFoundError: there is no cargo.
        subprocess.CalledProcessError: it cannot be built.
    """
    if PROGRAM_BUILT.exists() and PROGRAM_BUILT.stat().st_mtime > SOURCE.stat().st_mtime:
        return PROGRAM_BUILT
    shutil.copytree(PROGRAM, BUILD, dirs_exist_ok=True)
    metadata = json.loads(cargo("metadata", "--format-version", "1"))
    (manifest,) = (
        package["manifest_path"] for package in metadata["packages"] if package["name"] == CRATE
    )
    copy = BUILD / "manager"
    shutil.copytree(Path(manifest).parent, copy, dirs_exist_ok=True)
    change(
        copy / "src/ticker.rs",
        '"wss://ws.kite.trade"',
        f'&std::env::var("{ROOT_VARIABLE}").unwrap()',
    )
    change(copy / "Cargo.toml", 'version = "0.27"\nfeatures = ["native-tls"]', 'version = "0.27"')
    cargo("build", "--release", "--quiet", "--config", f'patch.crates-io.{CRATE}.path="{copy}"')
    return PROGRAM_BUILT


def cargo(*arguments: str) -> str:
    return subprocess.run(
        ["cargo", *arguments], cwd=BUILD, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if text.count(old) != 1:
        raise RuntimeError(f"{path} is not as it was in {CRATE} 0.4.1")
    path.write_text(text.replace(old, new))
