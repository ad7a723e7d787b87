"""What failed outside the program: a full disk, a folder that may not be written."""

from __future__ import annotations

import errno
import os

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)
SIGNS = (os.strerror(errno.ENOSPC), "PytorchStreamWriter failed", "unexpected pos")  # the latter two are torch's


def outside(error: BaseException | None) -> str | None:
    """One line for a failure of the disk or its permissions anywhere in the chain of `error`; None for a defect."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NOT_ALLOWED:
            return f"{error.filename or 'a file'}: {error.strerror}"
        number = error.errno if isinstance(error, OSError) else None
        if number in NO_SPACE or any(sign in str(error) for sign in SIGNS):
            return (
                "no space left on the disk; free some, then repeat the command or go on with its run: smca resume RUN"
            )
        error = error.__cause__ or error.__context__
    return None
