"""The settings of Hypothesis."""

import hypothesis_profile  # noqa: F401
