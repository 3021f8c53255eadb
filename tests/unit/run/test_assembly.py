"""What the user sees of a run, and is called for."""

import pytest
from patience import until

from snakemake_executor_plugin_osgpilot.monitoring.notify import Notifier
from snakemake_executor_plugin_osgpilot.monitoring.progress import Progress, Steps
from snakemake_executor_plugin_osgpilot.run.assembly import Output, UserDisplay


@pytest.fixture
def display(tmp_path):
    """One whose output is remembered, and whose notifications go to a file."""
    shown = []
    output = Output(shown.append, steps=lambda: Steps(2, 5, 1))
    notifier = Notifier(f"tee {tmp_path}/message")
    return UserDisplay(output, notifier, "r1", "/w"), shown, tmp_path / "message"


def test_progress_is_shown_with_the_count_of_snakemake(display):
    shown_to, shown, _ = display
    shown_to.show(Progress(1, 1, 3, 0))
    assert shown == [Progress(1, 1, 3, 0, steps=Steps(2, 5, 1))]


def test_a_person_who_is_called_learns_of_run_folder_and_reason(display):
    shown_to, _, message = display
    shown_to.call_person("the budget is spent")
    until(lambda: message.exists() and message.read_text().endswith("next step\n"), "it", 60)
    assert "run r1 needs you" in message.read_text()
    assert "the budget is spent\nfolder: /w\n" in message.read_text()
