"""One connection to Redis: nodes, TLS, scripts, and what servers say when they refuse."""
