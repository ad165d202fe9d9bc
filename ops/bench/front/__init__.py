"""What stands before and behind the proxies that `ops.bench.gateway` measures."""
