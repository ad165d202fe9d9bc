"""Engines that run elsewhere: servers that speak OpenAI's API, each behind a worker.

What decides has no I/O: `backend` (what the user said), `asked` (bodies of requests), `sse`,
`reading`, `assembly` (answers), `failure` (what an error means), `valve` (how much it may be given)
and `kinds` (a description of each kind of server). `door` alone talks HTTP, and alone imports a
client for it; `probing`, `exchange` and `engine` are drivers of both.
"""
