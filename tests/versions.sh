#!/usr/bin/env bash
# Runs the tests with several versions of Python and of the libraries, prints a table of them, and has each environment
# read the stores that the others wrote.
#
#     tests/versions.sh python3.11@lowest python3.13 debian:forky
#
# An environment is a Python (a command or a path) or, as root and with debootstrap, a release of Debian, of which it
# takes the Python. It gets the newest libraries; with @lowest behind it, the lowest that pyproject.toml allows of those
# that it names. What is tested is the last commit. Needs git, bash, a Python with venv, PyPI, and Debian's archive.
#
# PYTEST_ADDOPTS   arguments for pytest instead of `-n 3 --dist worksteal`, such as `-n 1 tests/test_images_stores.py`
# VERSIONS_DIR     where environments, stores and logs stay; without it they go into a temporary folder
# MRDIST_TEST_DATA the photographs of the tests
set -euo pipefail

[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
repository=$(cd "$(dirname "$0")/.." && pwd)
if [ -n "${VERSIONS_DIR:-}" ]; then
    folder=$(realpath -m "$VERSIONS_DIR")
else
    folder=$(mktemp -d)
    trap 'rm -rf --one-file-system "$folder"' EXIT
fi
export PYTEST_ADDOPTS=${PYTEST_ADDOPTS:--n 3 --dist worksteal}
export PYTHONWARNINGS= UV_CACHE_DIR=$folder/cache UV_LINK_MODE=copy
uv=$folder/tool/bin/uv
mkdir -p "$folder/stores"
[ -x "$uv" ] || { python3 -m venv "$folder/tool" && "$folder/tool/bin/pip" install --quiet uv; }

# Runs a command: here, or in the root of a Debian, where it sees our folder and the photographs at their usual paths.
# The mounts are of that command alone.
within() {
    local root=$1
    shift
    [ -n "$root" ] || { "$@"; return; }
    unshare --mount -- bash -ec '
        root=$1 folder=$2
        shift 2
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
        if [ -n "${MRDIST_TEST_DATA:-}" ]; then
            mkdir -p "$root$MRDIST_TEST_DATA"
            mount --bind "$MRDIST_TEST_DATA" "$root$MRDIST_TEST_DATA"
        fi
        exec chroot "$root" env --chdir="$PWD" "$@"' - "$root" "$folder" "$@"
}

names=() roots=() failures=0
for environment in "$@"; do
    name=${environment//[^A-Za-z0-9.@]/-}
    python=${environment%@*} resolution=highest root=
    [ "$python" = "$environment" ] || resolution=lowest-direct
    if [ "${python#debian:}" != "$python" ]; then
        release=${python#debian:} root=$folder/root-${python#debian:} python=/usr/bin/python3
        if [ ! -e "$root$python" ]; then
            debootstrap --variant=minbase --include=python3-venv,ca-certificates "$release" "$root" \
                http://deb.debian.org/debian /usr/share/debootstrap/scripts/sid > "$folder/$name-debian.txt"
            cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" # a proxy's may be among ours
        fi
    fi
    rm -rf "${folder:?}/$name"
    mkdir -p "$folder/$name"
    git clone --quiet "$repository" "$folder/$name/mrdist"
    cd "$folder/$name/mrdist"
    echo "== $environment: installing" >&2
    within "$root" "$uv" venv --quiet --python "$python" "$folder/$name/venv"
    within "$root" "$uv" pip install --quiet --python "$folder/$name/venv" --resolution "$resolution" -e '.[test]'
    echo "== $environment: testing" >&2
    run=("$folder/$name/venv/bin/python")
    within "$root" "${run[@]}" -m pytest -q --junitxml="$folder/$name.xml" > "$folder/$name.txt" 2>&1 || failures=1
    tail -n 40 "$folder/$name.txt" >&2
    within "$root" "${run[@]}" tests/versions.py row "$folder/$name.xml" "$resolution" | tee "$folder/$name-row.md" >&2
    rm -rf "${folder:?}/stores/$name"
    within "$root" "${run[@]}" tests/versions.py write "$folder/stores/$name"
    names+=("$name") roots+=("$root")
done

cd "$folder"
echo "| Python | libraries | zarr | dask | NumPy | xarray | scikit-learn | passed | failed | skipped |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
for name in "${names[@]}"; do cat "$folder/$name-row.md"; done
echo
for number in "${!names[@]}"; do
    cd "$folder/${names[number]}/mrdist"
    within "${roots[number]}" "$folder/${names[number]}/venv/bin/python" tests/versions.py read \
        "${names[@]/#/$folder/stores/}" || failures=1
done
exit "$failures"
