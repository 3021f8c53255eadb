"""Settings that hold for every test."""

import signal

from hypothesis import settings

# a busy machine is no failure of a law
settings.register_profile("osgpilot", deadline=None, print_blob=True)
settings.load_profile("osgpilot")

# whoever started the tests in the background may ignore them (nohup, a script's "&"), and what is
# ignored stays so in every program that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
