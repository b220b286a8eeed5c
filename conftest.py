"""Hypothesis profiles for the project's own tests: the same examples on every machine, more of them when asked.

`pytest --hypothesis-profile soak` searches at random and for longer.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "gate", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("soak", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gate")
