"""What the user sees of a run: its history folded into one picture for terminal, page, programs."""
