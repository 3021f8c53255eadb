"""What a run would do, told before it is begun: `osgpilot plan`."""
