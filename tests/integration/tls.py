"""A certificate for this host that the pilots of the local pool trust."""

from __future__ import annotations

import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

PILOT_IMAGE = "/opt/sif/pilot.sif"
AUTHORITY = "/etc/ssl/localpool"
HOST = socket.getfqdn()


@dataclass(frozen=True)
class Trusted:
    """A certificate for this host that pilots trust, and what makes others trust it."""

    folder: Path

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "host.crt", self.folder / "host.key")
        return context

    @property
    def context_of_clients(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.bundle)

    @property
    def bundle(self) -> str:
        return str(self.folder / "ca.crt")

    @classmethod
    def make(cls, folder: Path) -> Trusted:
        """Have the authority whose key is in the pilots' image sign a certificate."""
        for name in ("ca.crt", "ca.key"):
            command = ["apptainer", "exec", PILOT_IMAGE, "cat", f"{AUTHORITY}/{name}"]
            text = subprocess.run(command, capture_output=True, check=True).stdout
            (folder / name).write_bytes(text)
        (folder / "names").write_text(
            f"subjectAltName=DNS:{HOST}\nauthorityKeyIdentifier=keyid\nkeyUsage=digitalSignature\n"
        )
        new_key = ("-newkey", "rsa:2048", "-nodes", "-keyout", "host.key")
        _openssl(folder, "req", *new_key, "-out", "host.csr", "-subj", f"/CN={HOST}")
        signed_by = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
        wanted = ("-in", "host.csr", "-out", "host.crt", "-extfile", "names")
        _openssl(folder, "x509", "-req", "-days", "2", *signed_by, *wanted)
        return cls(folder)


def _openssl(folder: Path, *options: str) -> None:
    subprocess.run(["openssl", *options], cwd=folder, check=True, capture_output=True)
