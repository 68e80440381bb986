#!/usr/bin/env bash
# exchange_calendars 4.13.2 (PyPI) with pandas 3.0.6 and with pandas 3.1.1, both of which its requirements allow: the sessions of Bombay
# (XBOM) on the budget's Saturday, 2025-02-01, those of Moscow (XMOS) on Saturday 2024-12-28, and how many of Korea's (XKRX) before
# 1999 were on a Saturday, when that was a day of trading.
# Expected: the same days, whichever pandas is there.
# Seen: with 3.1.1 all sessions on a Saturday are gone, without an error or a warning: the calendar takes Monday to Friday as it is for
# most of the time, and the weeks for which it has other days (special_weekmasks) do not count. A bar or a gap of such a day falls
# on no session, and next_session() of Friday is Monday. pandas below 3.1 mends it. Needs Python 3.11 or newer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/sessions.py" <<'PY'
import exchange_calendars
import pandas

bombay = exchange_calendars.get_calendar("XBOM", start="2024-01-01", end="2026-01-01")
moscow = exchange_calendars.get_calendar("XMOS", start="2024-01-01", end="2026-01-01")
korea = exchange_calendars.get_calendar("XKRX", start="1990-01-01", end="1999-01-01")
saturdays = sum(day.day_of_week == 5 for day in korea.sessions)
next_session = bombay.next_session("2025-01-31").date()
print(pandas.__version__, bombay.is_session("2025-02-01"), next_session, moscow.is_session("2024-12-28"), saturdays)
PY
for pandas in 3.0.6 3.1.1; do
  python3 -m venv "$work/$pandas"
  "$work/$pandas/bin/pip" install --quiet --disable-pip-version-check exchange_calendars==4.13.2 "pandas==$pandas"
  "$work/$pandas/bin/python" "$work/sessions.py" >> "$work/seen"
done
echo "pandas, Bombay on Saturday 2025-02-01, the session after Friday there, Moscow on Saturday 2024-12-28, Saturdays in Korea:"
cat "$work/seen"
[ "$(cat "$work/seen")" = "3.0.6 True 2025-02-01 True 442
3.1.1 False 2025-02-03 False 0" ] || { echo "changed"; exit 1; }
echo "as described"
