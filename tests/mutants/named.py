"""Mistakes that once were noticed by the simulation alone, or by nothing: each is made whatever the sample is."""

# module, function, line, and what stands there with the mistake
NAMED: tuple[tuple[str, str, str, str], ...] = (
    (  # a hedge's loser is not reopened where the winner breaks off
        "engine.decision",
        "_Run._ask_beside",
        "self.states[last].visited = False  # it was given up for one that broke off: it may still answer",
        "pass",
    ),
    (  # nor is the one that is to be asked once more with an adapted request
        "engine.decision",
        "_Run._ask_beside",
        "state.again = state.visited = False  # with an adapted request it can be asked beside once more",
        "pass",
    ),
    (  # an attempt begins for which there is no time
        "engine.call_state",
        "CallState.fits",
        "return self.deadline is None or begin + self.policy.minimum_attempt < self.deadline",
        "return self.deadline is None or begin < self.deadline",
    ),
    (  # a thread that read the clock earlier comes later: its amount goes to a slice behind the newest
        "health.rate_windows",
        "Window.reserve",
        "if self._slices and self._slices[-1][0] >= number:",
        "if self._slices and self._slices[-1][0] == number:",
    ),
    (  # likewise, and a failure counts for more than all
        "health.latency",
        "Failing.look",
        "return self.share and max(self.share * exp(min(self._since - now, 0.0) / FADING), TRACE)",
        "return self.share and max(self.share * exp((self._since - now) / FADING), TRACE)",
    ),
    (  # failures from before it closed open a breaker again
        "health.breaker",
        "Breaker._close",
        "self._buckets.clear()",
        "pass",
    ),
)
