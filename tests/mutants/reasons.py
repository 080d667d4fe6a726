"""Why some mistakes stay unnoticed: what they change makes no difference that a test could see."""

# by module, function, line, and what is replaced by what
REASONS: dict[tuple[str, str, str, str], str] = {
    (
        "understudy.health.leases",
        "CallLeases.give_back_retry",
        "if self._retry is not None:",
        "self._retry is not None -> True",
    ): "the budget passes over a retry that it does not hold: the check spares a lock",
    (
        "understudy.execution.attempt",
        "prepare",
        "if command.adaptation is not None:",
        "command.adaptation is not None -> True",
    ): "a copy of the request with no adaptation equals the request: the check spares the copy",
    (
        "understudy.execution.attempt",
        "wasted_so_far",
        "if attempt is None or attempt.began is None:",
        "attempt is None or attempt.began is None -> (attempt is None)",
    ): "the task of every attempt that is cancelled has taken its first step, which sets it: mypy wants the check",
    (
        "understudy.health.breaker",
        "Breaker._open",
        "seconds = min(policy.breaker_open * 2.0 ** min(self.trips - 1, 64), policy.breaker_longest)",
        "64 -> 65",
    ): "the power must only not overflow, and 2 ** 64 seconds are longer than any policy's longest time already",
    (
        "understudy.engine.call_state",
        "CallState.note_skip",
        "pause = min(free_in, POLL * 2.0 ** min(state.skips - 1, 16) * (1 - admission.draw / 2))",
        "16 -> 17",
    ): "the power must only not overflow, and 2 ** 16 polls are longer than the longest lease already",
    (
        "understudy.health.admission",
        "_count_from_elsewhere",
        "_numbers = count(SystemRandom().getrandbits(62))",
        "62 -> 63",
    ): "any number of bits does with which two processes do not meet, and that leaves room below 2 ** 63",
    (
        "understudy.health.breaker",
        "Breaker._count",
        "while buckets[0][0] <= now - policy.breaker_window and len(buckets) > 1:",
        "buckets[0][0] <= now - policy.breaker_window -> (buckets[0][0] < now - policy.breaker_window)",
    ): "a second on the very edge is passed over where it is counted, and dropped with the next one",
}
