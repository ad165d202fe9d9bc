"""Redis Streams: the only layer that knows Redis."""
