"""Days of production in virtual time: vendors that are well, or sick for ten minutes, and clients beside each other.

`kinds` says how healthy vendors answer, `days` what goes wrong and when, `box` is a model on a machine of one's own,
`vendors` those who answer, `clients` those who ask, `worlds` plays a day, `measures` says what came of it, `recipes`
are the programs of docs/recipes.md, and `test_bounds` what is held.

Chance is drawn by the seed, the call, the vendor and the number of the call's visits there: whoever asks, it is the
same day, with the same arrivals, the same answers and the same failures.
"""
