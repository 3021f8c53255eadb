"""Settings of all tests that Hypothesis feeds; importing it takes a while, so others do not."""

from hypothesis import settings

# a busy machine is no failure of a law
settings.register_profile("osgpilot", deadline=None, print_blob=True)
settings.load_profile("osgpilot")
