"""Processes that put work into the streams: the client, the load generator, trace replay."""
