"""The wheel and the source distribution have what they need, and nothing of the workplace."""

import email
import subprocess
import tarfile
import zipfile

from checkout import ROOT

PACKAGE = "snakemake_executor_plugin_osgpilot"


def tracked(folder):
    listed = subprocess.run(
        ["git", "ls-files", folder], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(listed.stdout.split())


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == tracked(PACKAGE)
    assert f"{PACKAGE}/py.typed" in names


def test_the_source_distribution_has_what_git_tracks(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names - {"PKG-INFO"} == tracked(".")


def test_the_metadata_says_who_for_whom_and_with_what(wheel):
    about = metadata(wheel)
    assert about["Author"]
    assert about["License-Expression"] == "MIT"
    topics = {each.partition(" :: ")[0] for each in about.get_all("Classifier")}
    assert {"Intended Audience", "Operating System", "Programming Language", "Topic"} <= topics
    needs = about.get_all("Requires-Dist")
    assert any(each.startswith("snakemake<10,>=9.") for each in needs)
    # an address that nobody has chosen would send users to a stranger
    assert about.get_all("Project-URL") is None
