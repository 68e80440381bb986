#!/usr/bin/env bash
# parquet-go 0.32.0 (Go), ReadFile into structs whose fields are narrower than the columns: two ticks in a file of pyarrow 26.0.1,
# a volume of 2 685 000 000 (int64), a price of 1573.15 (double), and a trade time, the second one null.
# Expected: an int32 for an int64 column, or an int64 for a double, is an error, when the file is opened or at the first value
# that does not fit; and a null time is the zero time (IsZero), as a null number is 0 and a null text is "".
# Seen: int32 wraps around, to -1609967296; int64 for the price is 1573. The null time is 1970-01-01, whose IsZero() is
# false. No error in any case. Fields of the column's own type, and pointers for what may be null, are read right.
# Needs Go 1.25 or newer and Python 3.
set -euo pipefail
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
cat > "$work/write.py" <<'PY'
import datetime
import sys

import pyarrow
import pyarrow.parquet

traded = datetime.datetime(2026, 8, 3, 4, 45, tzinfo=datetime.UTC)
columns = {
    "volume_traded": pyarrow.array([2_685_000_000, 5], pyarrow.int64()),
    "last_price": pyarrow.array([1573.15, 1573.2], pyarrow.float64()),
    "last_trade_time": pyarrow.array([traded, None], pyarrow.timestamp("ms", "UTC")),
}
pyarrow.parquet.write_table(pyarrow.table(columns), sys.argv[1])
PY
"$work/venv/bin/python" "$work/write.py" "$work/ticks.parquet"
mkdir "$work/go"
cat > "$work/go/main.go" <<'GO'
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/parquet-go/parquet-go"
)

type Narrow struct {
	Volume int32     `parquet:"volume_traded"`
	Price  int64     `parquet:"last_price"`
	Traded time.Time `parquet:"last_trade_time"`
}

type Right struct {
	Volume int64      `parquet:"volume_traded"`
	Price  float64    `parquet:"last_price"`
	Traded *time.Time `parquet:"last_trade_time"`
}

func rows[T any]() []T {
	read, err := parquet.ReadFile[T](os.Args[1])
	if err != nil {
		panic(err)
	}
	return read
}

func main() {
	for _, row := range rows[Narrow]() {
		fmt.Println("narrow", row.Volume, row.Price, row.Traded.UTC().Format(time.RFC3339), row.Traded.IsZero())
	}
	for _, row := range rows[Right]() {
		fmt.Println("right", row.Volume, row.Price, row.Traded == nil)
	}
}
GO
(cd "$work/go" && go mod init finding && go get github.com/parquet-go/parquet-go@v0.32.0 && go mod tidy \
  && go build -o "$work/read" .) >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
seen=$("$work/read" "$work/ticks.parquet")
echo "$seen"
[ "$seen" = "narrow -1609967296 1573 2026-08-03T04:45:00Z false
narrow 5 1573 1970-01-01T00:00:00Z false
right 2685000000 1573.15 false
right 5 1573.2 true" ] || { echo "changed"; exit 1; }
echo "as described"
