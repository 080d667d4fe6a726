"""The `understudy` command. Not meant to be imported; app.py is its table of contents."""

__version__ = "0.1.0"
