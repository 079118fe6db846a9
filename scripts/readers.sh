#!/usr/bin/env bash
# Prints the Python of an environment with readers of Arrow and Parquet that are
# not ours. The first call makes it in the user's cache folder.
set -euo pipefail

packages=(duckdb==2.0.1 pyarrow==26.0.1 polars==2.1.0)
name=$(printf '%s\n' "${packages[@]}" | sha256sum | cut -c -12)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/adtally/readers-$name

command -v python3 >/dev/null || { echo 'python3 is needed: apt-get install python3-venv' >&2; exit 1; }
mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
flock 9
if [ ! -e "$dir/done" ]; then
	rm -rf "$dir"
	python3 -m venv "$dir" >&2 || { echo 'python3-venv is needed: apt-get install python3-venv' >&2; exit 1; }
	"$dir/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2
	touch "$dir/done"
fi
echo "$dir/bin/python"
