"""One supervised connection to the feed, from the socket to the handler of its frames."""
