#!/usr/bin/env bash
# pandas_market_calendars 5.5.0 with exchange_calendars 4.13.2 and pandas 3.0.6 (PyPI): the days of 2027 on which India's NSE and BSE trade,
# beside those of New York, Japan and Hong Kong, and beside exchange_calendars' Bombay (XBOM).
# Expected: no trade on Tuesday 2027-01-26, Republic Day, which is a holiday of both by law each year; or, where the list of holidays ends
# with 2026, an error, as exchange_calendars has one (DateOutOfBounds).
# Seen: every weekday of 2027 is a day of trade in NSE and BSE, all 261, 26 January included, without a warning, while the other exchanges
# have their holidays. So from January on each holiday looks like an outage of the feed, and next to the 16 holidays on weekdays of
# 2026 nothing tells that the list has ended. Needs Python 3.11 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  pandas_market_calendars==5.5.0 exchange_calendars==4.13.2 pandas==3.0.6
cat > "$work/days.py" <<'PY'
import warnings

import exchange_calendars
import pandas
import pandas_market_calendars

warnings.simplefilter("error", UserWarning)
for name in ("NSE", "BSE", "NYSE", "JPX", "HKEX"):
    calendar = pandas_market_calendars.get_calendar(name)
    missing = []
    for year in (2026, 2027):
        first, last = f"{year}-01-01", f"{year}-12-31"
        missing.append(len(pandas.bdate_range(first, last).difference(calendar.valid_days(first, last, tz=None))))
    republic_day = len(calendar.valid_days("2027-01-26", "2027-01-26"))
    print(name, *missing, republic_day)
try:
    exchange_calendars.get_calendar("XBOM").is_session("2027-01-26")
except Exception as error:
    print("XBOM", type(error).__name__)
PY
seen=$("$work/venv/bin/python" "$work/days.py")
echo "exchange, weekdays without trade in 2026 and 2027, trade on 2027-01-26:"
echo "$seen"
[ "$seen" = "NSE 16 0 1
BSE 16 0 1
NYSE 10 10 1
JPX 19 17 1
HKEX 14 13 1
XBOM DateOutOfBounds" ] || { echo "changed"; exit 1; }
echo "as described"
