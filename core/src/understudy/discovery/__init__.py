"""Which plugins are installed, whether they may load, and loading them.

Enter by `registry.registry` and `registry.load_extensions`. `distributions` reads metadata only and imports no plugin;
`lock` and `trust` are imported only where there is a list or a lock. May import the nouns.
"""
