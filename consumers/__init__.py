"""Processes that take work out of the streams: workers and the engines inside them."""
