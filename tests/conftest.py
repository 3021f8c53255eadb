"""Settings that hold for every test."""

import gc
import signal

import pytest

# whoever started the tests in the background may ignore them (nohup, a script's "&"), and what is
# ignored stays so in every program that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Do not look for garbage in modules and tests that stay: with thousands of tests it takes a
    second in each process.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
