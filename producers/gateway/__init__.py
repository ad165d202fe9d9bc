"""The front door: the OpenAI API over HTTP, translated into jobs and back.

    request -> [body] -> [keyring] -> [meaning] -> job -> AsyncClient -> [answers] -> response

What it decides is how a request is to be understood; who is served when, and where, the scheduler
decides. All errors of a client are told by one table, `problems`.
"""
