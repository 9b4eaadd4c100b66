"""The end of a process that can no longer keep a promise."""

import os
from typing import NoReturn

from utils.observe.logging import get_logger

log = get_logger()

# EX_IOERR of sysexits.h
DISK_FAILED = 74
# EX_CONFIG: another version of the program is needed.
FORMAT_TOO_NEW = 78
# EX_SOFTWARE
INVARIANT_BROKEN = 70


def end_process(status: int, what: str, error: BaseException) -> NoReturn:
    """Logs and ends the process at once, without cleaning up: what is in memory is not to be trusted any more.

    After a failed sync the kernel may have dropped the pages that it could not write, and a second sync would lie; only
    reading the files again tells what they hold.
    """
    log.critical(what, error=repr(error), exc_info=error)
    os._exit(status)
