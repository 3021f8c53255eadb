"""Handlers of signals, set for a while."""

import os
import signal
import threading

import pytest

from snakemake_executor_plugin_osgpilot.common.signals import handled


@pytest.fixture(autouse=True)
def heard():
    """The signals that reach the handler which was there before."""
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("before"))
    yield heard
    signal.signal(signal.SIGUSR1, before)


def test_a_handler_is_called_meanwhile_and_the_one_before_it_afterwards(heard):
    def fail():
        with handled(lambda *_: heard.append("own"), signal.SIGUSR1):
            os.kill(os.getpid(), signal.SIGUSR1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert heard == ["own", "before"]


def test_off_the_main_thread_handlers_stay_as_they_are(heard):
    done = []

    def work():
        with handled(lambda *_: heard.append("own"), signal.SIGUSR1):
            done.append(signal.getsignal(signal.SIGUSR1))

    own = signal.getsignal(signal.SIGUSR1)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [own]
