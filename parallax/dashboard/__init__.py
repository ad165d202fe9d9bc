"""The web dashboard: an API over the one reader of a cell's state, and the pages that ask it.

    browser -> [guard] -> [feed: one reader for all viewers] -> Overview
                       -> [pages of rows, jobs, policies, dead letters] -> the store
                       -> [writes, with a token or an admin's key]
                       -> [playground: AsyncClient] [laboratory: `parallax simulate`]

`static/` holds the pages as they were exported (their source is `ops/dashboard`).
"""
