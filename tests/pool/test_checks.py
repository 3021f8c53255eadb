"""Refusals of machines that cannot host a pool, and what is taken from the host's settings."""

from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.errors import InputError, MissingPrerequisiteError
from snakemake_executor_plugin_osgpilot.local_pool import host, idmap, mirror, paths, piphost
from snakemake_executor_plugin_osgpilot.local_pool.instance import check_work


def refusal(function, *arguments) -> str:
    with pytest.raises((MissingPrerequisiteError, InputError)) as caught:
        function(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_another_system_than_linux_is_refused():
    assert "needs Linux, this is darwin" in refusal(host.require_linux, "darwin")


def test_missing_programs_are_named_by_package():
    tools = {"no-such-program": "some-package", "nor-this-one": "another", "sh": "dash"}
    assert "apt-get install another some-package" in refusal(host.require_tools, tools)


def test_a_full_disk_is_refused(tmp_path: Path):
    text = refusal(host.require_space, tmp_path / "not" / "yet", 1e9)
    assert "OSGPILOT_CACHE" in text


def test_a_kernel_without_user_namespaces_is_refused(monkeypatch, tmp_path: Path):
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\necho 'unshare failed: EPERM' >&2; exit 1\n")
    unshare.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert "sysctl" in refusal(host.require_namespaces)


def test_a_missing_fuse_device_is_refused(tmp_path: Path):
    assert "modprobe fuse" in refusal(host.require_fuse, tmp_path / "fuse")


def test_a_closed_fuse_device_is_refused_to_ordinary_users_only(monkeypatch, tmp_path: Path):
    device = tmp_path / "fuse"
    device.touch(0o600)
    monkeypatch.setattr(host.os, "geteuid", lambda: 1000)
    assert "chmod 666" in refusal(host.require_fuse, device)
    monkeypatch.setattr(host.os, "geteuid", lambda: 0)
    host.require_fuse(device)


def test_a_user_without_subordinate_ids_is_refused(monkeypatch, tmp_path: Path):
    (tmp_path / "subuid").write_text("somebody:100000:65536\nroot:100000:10\n")
    text = refusal(idmap._subordinate, tmp_path / "subuid", 0)
    assert "--add-subuids" in text


def test_alice_is_the_invoking_user_and_no_id_is_mapped_twice():
    for kind in idmap.id_maps().values():
        inside = [number for first, _, count in kind for number in range(first, first + count)]
        assert inside == list(range(idmap.COUNT))
        outside = [(first, count) for _, first, count in kind]
        assert outside[1] == (outside[1][0], 1)
        assert outside[0][0] + outside[0][1] == outside[2][0]


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "..", "x" * 33, "-x"])
def test_names_that_cannot_be_folders_are_refused(name: str):
    assert "--name" in refusal(paths.instance_folder, name)


@pytest.mark.parametrize("folder", ["/", "/usr", "/tmp", "/home", "/proc/self", "/dev/shm"])
def test_a_working_folder_does_not_hide_the_pools_own(folder: str):
    assert "name a subfolder" in refusal(check_work, Path(folder))


def test_the_mirror_is_debians_main_archive_among_all_sources():
    targets = (
        "https://deb.example.org/other/\tOther\tOther\t\n"
        "http://mirror.example.org/debian-security/\tDebian\tDebian-Security\t\n"
        "http://mirror.example.org/debian/\tDebian\tDebian\t/k.gpg\n"
    )
    assert mirror.pick_uri(targets) == "http://mirror.example.org/debian/"


def test_the_mirror_is_found_before_apt_has_seen_it():
    targets = "http://e.org/ubuntu/\t\t\t\nhttp://mirror.example.org/debian\t\t\t\n"
    assert mirror.pick_uri(targets) == "http://mirror.example.org/debian"
    assert mirror.pick_uri("http://e.org/ubuntu/\tUbuntu\tUbuntu\t") is None


def test_a_mirror_that_does_not_answer_is_refused():
    text = refusal(mirror.require_reachable, "http://127.0.0.1:9/debian", "trixie")
    assert "--mirror" in text


def test_proxies_and_date_checks_are_taken_from_apt_and_nothing_else():
    dump = (
        'APT::Architecture "amd64";\nAcquire::http::Proxy "http://p:3128";\nAcquire::http "";\n'
        'Acquire::Check-Valid-Until "false";\nAcquire::Languages "none";\n'
    )
    assert mirror.pick_options(dump) == [
        'Acquire::http::Proxy "http://p:3128";',
        'Acquire::Check-Valid-Until "false";',
    ]


def test_pip_in_the_tree_gets_the_hosts_index_and_sees_local_ones(tmp_path: Path):
    index = tmp_path / "pypi" / "simple"
    index.mkdir(parents=True)
    bundle = tmp_path / "ca.crt"
    bundle.touch()
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nextra-index-url = file://{index}\ntimeout = 5\nuser = true\n")
    found = piphost.pip_host(
        {
            "HOME": str(tmp_path),
            "PIP_CONFIG_FILE": str(config),
            "PIP_INDEX_URL": "https://index.example.org/simple",
            "SSL_CERT_FILE": str(bundle),
        }
    )
    assert found.environment["PIP_INDEX_URL"] == "https://index.example.org/simple"
    assert found.environment["PIP_EXTRA_INDEX_URL"] == f"file://{index}"
    assert "PIP_USER" not in found.environment
    assert (str(index.parent), str(index.parent)) in found.binds
    assert (str(bundle), "/run/host-ca.crt") in found.binds
    assert found.environment["PIP_CERT"] == "/run/host-ca.crt"
