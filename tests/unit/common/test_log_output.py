"""Log records of the package: shown once, with the label of their run."""

import asyncio
import itertools
import logging
import subprocess
import sys
import threading
from contextlib import ExitStack
from contextvars import copy_context

import pytest
from log_capture import Logged

from snakemake_executor_plugin_osgpilot.common.console_output import EchoHandler
from snakemake_executor_plugin_osgpilot.common.log_output import (
    PACKAGE,
    attached,
    current_label,
    labelled,
    set_label,
)

logger = logging.getLogger("snakemake_executor_plugin_osgpilot.some.module")


def unattached():
    handlers = [type(handler) for handler in PACKAGE.handlers]
    return handlers == [logging.NullHandler] and PACKAGE.propagate and not PACKAGE.level


def test_records_go_to_the_attached_handler_and_to_no_handler_of_the_program():
    own, of_the_program = Logged(), Logged()
    logging.getLogger().addHandler(of_the_program)
    try:
        with attached(own):
            logger.info("a message")
            logger.warning("100 % is no format")
            logger.debug("a detail")
    finally:
        logging.getLogger().removeHandler(of_the_program)
    assert (own.info, own.warnings) == (["a message"], ["100 % is no format"])
    assert of_the_program.texts == []
    assert unattached()


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_nothing_is_shown_twice_nor_left_attached_in_whichever_order_handlers_leave(order):
    handlers, stacks = [Logged() for _ in range(3)], [ExitStack() for _ in range(3)]
    for handler, stack in zip(handlers, stacks, strict=True):
        stack.enter_context(attached(handler))
    there = [0, 1, 2]
    for leaving in order:
        logger.info("once")
        (heard,) = [n for n in range(3) if handlers[n].texts]
        assert heard == there[-1]
        handlers[heard].texts.clear()
        stacks[leaving].close()
        there.remove(leaving)
    assert unattached()


def test_without_a_handler_nothing_is_printed():
    script = (
        "import logging, snakemake_executor_plugin_osgpilot\n"
        "logging.getLogger('snakemake_executor_plugin_osgpilot.run').warning('a secret')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_label_holds_inside_of_its_block_and_in_threads_started_with_a_copy():
    seen = []
    with labelled("P"):
        seen.append(current_label())
        threads = [
            threading.Thread(target=lambda: seen.append(current_label())),
            threading.Thread(
                target=copy_context().run, args=(lambda: seen.append(current_label()),)
            ),
        ]
        for thread in threads:
            thread.start()
            thread.join()
        with labelled("Q"):
            seen.append(current_label())
        seen.append(current_label())
    assert [*seen, current_label()] == ["P", "", "P", "Q", "P", ""]


def test_a_label_set_in_a_task_stays_there():
    async def task():
        set_label("P")
        await asyncio.sleep(0)
        return current_label()

    assert asyncio.run(task()) == "P"
    assert current_label() == ""


def test_a_command_prints_warnings_to_stderr_and_the_rest_where_its_output_goes(capsys):
    for err in (False, True):
        with attached(EchoHandler(err=err)):
            logger.info("its pilots are gone\x1b[2J")
            logger.warning("it is skipped")
        shown = capsys.readouterr()
        text = "its pilots are gone\\x1b[2J\n"
        assert shown.out == ("" if err else text)
        assert shown.err == (text if err else "") + "it is skipped\n"
