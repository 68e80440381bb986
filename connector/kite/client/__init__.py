"""The library's faces: a ticker with subscribers, and a manager of many connections."""
