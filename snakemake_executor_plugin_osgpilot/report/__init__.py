"""Reports on a run: its history replayed, for terminal, page and programs."""
