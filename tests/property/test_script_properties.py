"""Whatever is in a command or a file, no shell on the way changes it or carries out half of it."""

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.slurm.host import Here, Host
from snakemake_executor_plugin_osgpilot.slurm.remote_script import script

TRICKY = st.sampled_from([*"'\"\\\n\r !*~", "$(id)", "`id`", "-n", "%s"])
TEXT = st.lists(
    TRICKY | st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
).map("".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, max_size=5), TEXT)
def test_arguments_and_files_arrive_unchanged(tmp_path_factory, arguments, content):
    path = tmp_path_factory.mktemp("there") / "it's $HOME"
    show = 'for each; do printf "%s\\0" "$each"; done; cat "$0"'
    reported = Host(Here()).run(["sh", "-c", show, str(path), *arguments], files={path: content})
    assert reported.out == "".join(f"{each}\0" for each in arguments) + content


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1, exclude_max=True))
def test_of_a_script_that_was_cut_off_nothing_is_done(tmp_path_factory, part):
    folder = tmp_path_factory.mktemp("there")
    argv, files = ["touch", str(folder / "b")], {folder / "a": "text"}
    whole = script(argv, files, mark="M", deadline_s=None, within_s=60)
    arrived = whole[: int(part * whole.rindex("}"))]
    subprocess.run(["sh"], input=arrived, capture_output=True, text=True)
    assert list(folder.iterdir()) == []
