"""Settings of all tests that Hypothesis feeds; importing it takes a while, so others do not."""

from hypothesis import HealthCheck, settings

# a busy machine is no failure of a law
settings.register_profile(
    "osgpilot", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("osgpilot")
