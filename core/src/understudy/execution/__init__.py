"""One call, from its arguments to its response: drivers run the engine's commands on providers.

Enter by `sync_driver.run` and `stream`, `async_driver.run` and `stream`, with an `Execution`. What a call claims of a
target, and releases, goes through `understudy.health.leases`. May import routing, health, the engine and what is below.
"""
