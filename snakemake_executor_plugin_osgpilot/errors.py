"""The errors of osgpilot.

OsgpilotError                    raised on purpose; one line of text that ends with what to do
├── InputError                   what the user gave cannot be used (setting, site file, token, hint)
│   ├── JournalDamagedError      a file of ours is not what we wrote
│   └── NeverBegunError          a run whose start was cut short before it was written down
├── RunTakenOverError            another process works on the run: touch nothing of it
├── MissingPrerequisiteError     this machine lacks a command, a kernel feature or disk space
│   └── NoApptainerError         it lacks Apptainer, without which no image can be made
├── OutcomeUnknownError          a request to Slurm or HTCondor failed: conclude nothing from it
│   ├── NotSentError             it was not sent: nothing was done, it can be sent again
│   ├── NotRecordedError         the journal cannot be read or written: nothing was sent
│   └── AbandonedError           we did not wait for the answer
├── TryLaterError                Slurm rejected it and did nothing; it may succeed later
├── QueueFullError               the access point has no room for so many jobs: fewer, or later
└── RejectedError                Slurm or HTCondor rejected it for good: do not retry
"""

from .common.printable import printable


class OsgpilotError(Exception):
    """Base of all errors raised on purpose; its text is shown to the user as it is.

    It may quote a job, a node or another program: what would drive a terminal is escaped in it.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class InputError(OsgpilotError):
    """Invalid input of the user; the text names the flag or key, the value and a solution."""


class JournalDamagedError(InputError):
    """A file of ours is not what we wrote; nothing can be read from it."""


class NeverBegunError(InputError):
    """The start of a run was cut short before it was written down: there is nothing of it."""


class RunTakenOverError(OsgpilotError):
    """Somebody else works on the run now; nothing of it may be touched any more."""


class MissingPrerequisiteError(OsgpilotError):
    """This machine lacks something; the text names it and how to get it."""


class NoApptainerError(MissingPrerequisiteError):
    """This machine lacks Apptainer, without which no image can be made."""


class OutcomeUnknownError(OsgpilotError):
    """The question failed. Nothing is known; nothing may be concluded."""


class NotSentError(OutcomeUnknownError):
    """The question did not leave this machine, so that nothing was done."""


class NotRecordedError(OutcomeUnknownError):
    """The journal cannot be read or written now; what has to be in it first is not done."""


class AbandonedError(OutcomeUnknownError):
    """Somebody did not want to wait for the answer; what was asked for may be done yet."""


class QueueFullError(OsgpilotError):
    """The access point has no room for so many jobs, and took none: fewer, or later.

    `room` is how many it would have taken, `at_once` whether of one submission or in all.
    """

    def __init__(self, text: str, room: int, *, at_once: bool) -> None:
        super().__init__(text)
        self.room, self.at_once = room, at_once


class TryLaterError(OsgpilotError):
    """The other side said no and did nothing. The same request may be granted later."""


class RejectedError(OsgpilotError):
    """The other side said no, for good. Same request, same answer."""
