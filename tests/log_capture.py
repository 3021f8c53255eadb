"""Capture the log records of the package in tests."""

import logging


class Logged(logging.Handler):
    """Keeps the messages of the package: `info`, `warnings`, and `texts` for both."""

    def __init__(self):
        super().__init__()
        self.info, self.warnings, self.texts = [], [], []

    def emit(self, record):
        text = record.getMessage()
        self.texts.append(text)
        (self.warnings if record.levelno >= logging.WARNING else self.info).append(text)
