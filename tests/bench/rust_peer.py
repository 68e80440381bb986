"""Builds the Rust manager (kiteticker-async-manager) for the benchmark: its address is fixed in its
source, so a copy is made in which the environment names it. Nothing else of it is changed, but that
it needs no TLS here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

CRATE = "kiteticker-async-manager"
PROGRAM = Path(__file__).parent / "rust_manager"
BUILD = Path(__file__).parents[2] / "build" / "rust_manager"
ROOT_VARIABLE = "KITE_ROOT"


def build() -> Path:
    """The program, built on the first call, which takes minutes.

    Raises:
        FileNotFoundError: there is no cargo.
        subprocess.CalledProcessError: it cannot be built.
    """
    program = BUILD / "target/release/rust-manager"
    if program.exists():
        return program
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
    return program


def cargo(*arguments: str) -> str:
    return subprocess.run(
        ["cargo", *arguments], cwd=BUILD, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if text.count(old) != 1:
        raise RuntimeError(f"{path} is not as it was in {CRATE} 0.4.1")
    path.write_text(text.replace(old, new))
