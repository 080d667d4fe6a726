"""Threads, the event loop in the background, a scope that cancels, and what a forked process resets.

Enter by `threads.in_thread` and `threads.start`, `portal.run`, `cancel.CancelScope`. Imports nothing else from the
core.
"""
