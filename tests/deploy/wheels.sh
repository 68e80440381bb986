#!/usr/bin/env bash
# A compiled wheel for each CPython of this machine, installed beside nothing else and tried.
# usage: tests/deploy/wheels.sh [PYTHON ...]; without any: python3.11 to python3.14, where they are
set -euo pipefail
cd "$(dirname "$0")/../.."

pythons=("$@")
if [ ${#pythons[@]} = 0 ]; then
  for version in 3.11 3.12 3.13 3.14; do
    if command -v "python$version" >/dev/null; then pythons+=("python$version"); fi
  done
fi
if [ ${#pythons[@]} = 0 ]; then
  echo "no CPython 3.11 to 3.14 is installed" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# what git knows: a compiled module of another CPython has no place in a wheel
mkdir "$work/source"
git ls-files -z | xargs -0 cp --parents -t "$work/source"
for python in "${pythons[@]}"; do
  "$python" -m venv "$work/venv"
  pip=("$work/venv/bin/pip" --quiet --disable-pip-version-check)
  rm -rf "$work/built" "$work/source/build"
  KITE_CONNECTOR_BUILD=native "${pip[@]}" wheel --no-deps -w "$work/built" "$work/source"
  "${pip[@]}" install "$work/built/"*.whl numpy
  (cd "$work" && KITE_CONNECTOR_CODEC=native "$work/venv/bin/python" "$work/source/tests/support/installed_wheel.py")
  rm -rf "$work/venv"
done
