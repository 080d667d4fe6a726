"""The decisions of a call: a pure generator without I/O, clock or randomness.

Enter by `decision.decide`: it yields the commands of `commands`, and is sent their outcomes. May import the nouns.
"""
