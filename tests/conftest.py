"""Settings that hold for every test."""

import signal

# whoever started the tests in the background may ignore them (nohup, a script's "&"), and what is
# ignored stays so in every program that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
