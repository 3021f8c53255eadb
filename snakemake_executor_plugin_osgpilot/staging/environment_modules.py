"""Environment modules (`envmodules:`) where a job runs."""

from __future__ import annotations

import shlex


def find_module(rule: str) -> str:
    """Return shell lines that find the `module` command, or say which rule needs it.

    A job starts without a login shell, which defines it at most sites, and a `BASH_ENV` among the
    `envvars:` came too late for this shell.
    """
    missing = f"osgpilot: rule {rule} has `envmodules:`, and there is no `module` command here"
    return _FIND.replace("MESSAGE", shlex.quote(missing))


_FIND = """\
for osgpilot_init in "${BASH_ENV-}" /etc/profile.d/*modules.sh /etc/profile.d/*lmod.sh \
/usr/share/modules/init/sh /usr/share/lmod/lmod/init/sh; do
    if ! command -v module > /dev/null 2>&1 && [ -r "$osgpilot_init" ]; then . "$osgpilot_init"; fi
done
command -v module > /dev/null 2>&1 || { echo MESSAGE >&2; exit 1; }
"""
