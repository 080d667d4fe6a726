"""A world under a virtual clock, in which the real engine, health and policies go through thousands of outages.

    python tests/simulation --seed 7          one world again, with what it breaks
    python tests/simulation --outages 100000  as many outages, in worlds of one seed after another

`world` is the clock and what is written down, `faults` what goes wrong and when, `vendors` those who answer, `stores`
where health is kept, `clients` those who ask, `scenarios` what a seed stands for, `invariants` what must hold in it.
"""
