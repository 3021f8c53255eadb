"""Hides the storage plugins that our own tests need from the plugins we compare with.

If any is installed, the HTCondor plugin has every job install them all, without a network, and no
job succeeds. That would be no comparison.
"""

import pkgutil

_all_modules = pkgutil.iter_modules


def _visible(path=None, prefix=""):
    found = _all_modules(path, prefix)
    return (module for module in found if not module.name.startswith("snakemake_storage_plugin_"))


pkgutil.iter_modules = _visible
