"""Rows of Kite's list of instruments, as text."""

from connector.kite.web.instrument_csv import COLUMNS

HEADER = ",".join(COLUMNS)
INFY = "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE"
NIFTY = "256265,1001,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE"
OPTION = "8963330,35013,NIFTY2690124750CE,NIFTY,513.75,2026-09-01,24750,0.05,75,CE,NFO-OPT,NFO"


def lines(*rows):
    return "\n".join([HEADER, *rows]) + "\n"
