"""Kite's REST API, as far as a feed needs it: the daily login and the list of instruments."""
