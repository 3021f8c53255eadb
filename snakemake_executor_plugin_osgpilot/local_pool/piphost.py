"""The host's access to PyPI (index, proxy, certificates), for a pip inside the pool's tree."""

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

KEYS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "client-cert",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
)
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
NAME_SERVICE = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")


@dataclass(frozen=True)
class PipHost:
    """Environment for pip in the tree, and host paths that must be visible there."""

    environment: Mapping[str, str]
    binds: tuple[tuple[str, str], ...] = field(default=())


def config_files(environ: Mapping[str, str]) -> list[Path]:
    """Return pip's configuration files, the weakest first (pip documentation, "Configuration")."""
    home = Path(environ.get("HOME", "/"))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        config / "pip/pip.conf",
    ]
    if own := environ.get("PIP_CONFIG_FILE"):
        files.append(Path(own))
    return files


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings for reaching packages, under the names of pip's options."""
    found: dict[str, str] = {}
    for file in config_files(environ):
        parser = configparser.RawConfigParser()
        if not file.is_file():
            continue
        parser.read(file)
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= {
                    key.replace("_", "-"): " ".join(value.split())
                    for key, value in parser.items(section)
                }
    for name, value in environ.items():
        if name.startswith("PIP_"):
            found[name[4:].lower().replace("_", "-")] = value
    return {key: found[key] for key in KEYS if key in found}


def local_paths(value: str) -> list[str]:
    """Return paths of this machine in a setting, plain or as file: URL."""
    paths = [
        unquote(urlparse(word).path) if word.startswith("file:") else word
        for word in value.split()
        if word.startswith(("file:", "/"))
    ]
    return [path for path in paths if Path(path).exists()]


def pip_host(environ: Mapping[str, str] = os.environ) -> PipHost:
    """Return what a pip inside the tree needs to reach packages as the host's pip does."""
    chosen = settings(environ)
    variables = {f"PIP_{key.upper().replace('-', '_')}": value for key, value in chosen.items()}
    binds = [(path, path) for path in NAME_SERVICE if Path(path).exists()]
    for value in chosen.values():
        for path in local_paths(value):
            # an index may refer to files beside it, e.g. simple/ to ../files/
            shown = str(Path(path).parent) if path.rstrip("/").endswith("/simple") else path
            binds.append((shown, shown))
    bundles = [environ[name] for name in CERTIFICATES if environ.get(name)]
    for path in [*bundles, *SYSTEM_BUNDLES]:
        if Path(path).is_file():
            binds.append((str(Path(path).resolve()), "/run/host-ca.crt"))
            variables |= dict.fromkeys(CERTIFICATES, "/run/host-ca.crt")
            break
    return PipHost({**variables, "PIP_CONFIG_FILE": "/dev/null"}, tuple(dict.fromkeys(binds)))
