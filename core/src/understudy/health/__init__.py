"""What calls learn of targets: breakers, quotas, rate windows, latencies, budgets.

Enter by `leases.CallLeases` during a call; `status` and `admission` serve the factory. A store keeps one `TargetRecord`
for each target, which is pure: no clock, no lock, no randomness. May import the engine's values and the nouns.
"""
