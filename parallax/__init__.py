"""Parallax: a durable, fair queue and scheduler on Redis Streams in front of LLM engines."""

__version__ = "0.1.0"
