"""A server that segments videos which are sent to it: `arseg serve` (extra `serve`)."""
