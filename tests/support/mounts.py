"""Small file systems, where this process may mount them."""

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def small_file_system(directory, size):
    """A tmpfs of that size (as mount says it: 1m) over a directory; skips where it cannot be."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(directory)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.decode().strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)
