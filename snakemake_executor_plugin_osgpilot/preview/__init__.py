"""A dry run: `osgpilot plan`."""
