#!/bin/bash
# Build step: the Python environment /opt/venv; arguments: VERSION of the project, requirements.
set -euo pipefail
version=$1; shift
mkdir -p /run/out/tree/opt/venv /opt/venv
mount --bind /run/out/tree/opt/venv /opt/venv
python3 -m venv /opt/venv
export TMPDIR=/run/out
/opt/venv/bin/pip install --no-cache-dir --no-warn-script-location -q "$@"

# the project itself is bound from the host at every `up`, so that edits are seen at once
site=$(/opt/venv/bin/python -c 'import site; print(site.getsitepackages()[0])')
echo /opt/osgpilot > "$site/osgpilot.pth"
info=$site/snakemake_executor_plugin_osgpilot-$version.dist-info
mkdir -p "$info"
printf 'Metadata-Version: 2.1\nName: snakemake-executor-plugin-osgpilot\nVersion: %s\n' "$version" > "$info/METADATA"
printf '[console_scripts]\nosgpilot = snakemake_executor_plugin_osgpilot.cli:main\n' > "$info/entry_points.txt"
echo osgpilot > "$info/INSTALLER"
: > "$info/RECORD"
cat > /opt/venv/bin/osgpilot <<'P'
#!/opt/venv/bin/python3
from snakemake_executor_plugin_osgpilot.cli import main

main()
P
chmod 755 /opt/venv/bin/osgpilot
