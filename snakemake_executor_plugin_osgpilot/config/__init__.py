"""The site file: where pilots run and what they need to know."""
