#!/bin/sh
# Makes the virtual environment that the Makefile uses, or leaves it as it is where nothing has changed.
#
#   tools/environment.sh book    what the book needs
#   tools/environment.sh test    what tests and lint need besides
#   tools/environment.sh bench   what benchmarks need besides
#
# Read from the environment: VENV (folder; empty: install nothing, use the environment that is active),
# PYTHON (interpreter to make it with), TORCH_INDEX (address of an index to take torch and torchvision from).
set -u
cd "$(dirname "$0")/.." || exit 1
what=$1
venv=${VENV:-.venv}
complete=$venv/complete-$what  # what is installed there; written last: an interrupted run is repeated

stop() {
    for line in "$@"; do echo "$line" >&2; done
    exit 1
}

if [ -z "${VENV-.venv}" ]; then
    fault=$("${PYTHON:-python3}" -c 'import lib, torch, torchvision, papermill, jupyter_book' 2>&1) || stop \
        "The active environment is not complete ($(echo "$fault" | tail -n 1))." \
        "Complete it with pip install -r requirements.txt, or let make use its own: leave VENV= out."
    exit 0
fi

# The files that say what to install, and where the clone lies: pip links lib to this very folder.
wanted() {
    pwd
    cat requirements.txt pyproject.toml
    if [ "$what" != book ]; then cat requirements-cluster.txt requirements-test.txt requirements-peers.txt; fi
    if [ "$what" = bench ]; then cat requirements-bench.txt; fi
}

works() { "$venv/bin/python" -m pip --version >/dev/null 2>&1; }

if [ -f "$complete" ] && [ "$(wanted)" = "$(cat "$complete")" ] && works; then
    if [ -n "${TORCH_INDEX:-}" ]; then
        echo "$venv is complete; TORCH_INDEX counts only when it is made (remove $venv to start anew)." >&2
    fi
    exit 0
fi

# ---- Python ----
recent='import sys; sys.exit(sys.version_info < (3, 10))'
python=
for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c "$recent" >/dev/null 2>&1; then python=$candidate; break; fi
    if [ -n "${PYTHON:-}" ]; then break; fi
done
if [ -z "$python" ] && ! works; then
    found=$("${PYTHON:-python3}" --version 2>&1) || found="no Python"
    stop "This book needs Python 3.10 or newer; '${PYTHON:-python3}' is: $found." \
        "Install one, or name one that you have: make book PYTHON=/path/to/python3.11"
fi

# ---- Disk, for the installation and for pip's downloads; torchvision is the last large thing installed ----
if [ "$(uname)" = Linux ] && [ -z "${TORCH_INDEX:-}" ]; then needed=10; else needed=4; fi
place=$venv
while [ ! -e "$place" ]; do place=$(dirname "$place"); done
free=$(df -Pk "$place" | awk 'NR == 2 {print int($4 / 1048576)}')
if [ "$free" -lt "$needed" ] && ! ls -d "$venv"/lib/python*/site-packages/torchvision >/dev/null 2>&1; then
    stop "Not enough disk: the installation needs $needed GB, and $free GB are free here." \
        "The CPU build of torch needs 4 GB: make $what TORCH_INDEX=ADDRESS, where ADDRESS is the one that" \
        "https://pytorch.org/get-started/locally/ shows for your system with pip and CPU."
fi

# ---- The environment ----
if ! works; then
    if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv" 2>/dev/null)" ]; then
        stop "$venv is no virtual environment; move it away, or name another place: VENV=FOLDER."
    fi
    "$python" -c 'import venv, ensurepip' 2>/dev/null || stop \
        "This Python ($python) lacks the venv module." \
        "On Debian and Ubuntu it is in a package of its own: sudo apt install python3-venv"
    echo "Making $venv with $("$python" --version)." >&2
    "$python" -m venv --clear "$venv" || stop "$venv could not be made; the message above says why."
fi

if [ -t 1 ]; then quiet=; else quiet=--quiet; fi
export PYTHONWARNINGS="ignore:Editable"  # a notice for the authors of packages, ten lines of it
install() {
    "$venv/bin/python" -m pip install $quiet --disable-pip-version-check "$@" || stop \
        "The installation failed; pip's message is above. Check the network and the free disk, then start" \
        "the same command again: it goes on where it stopped."
}

rm -f "$venv"/complete-*
echo "Installing what requirements.txt names into $venv: some minutes the first time." >&2
if [ -n "${TORCH_INDEX:-}" ]; then
    grep -E '^torch(vision)?[<>=]' requirements.txt >"$venv/torch.txt"
    install --index-url "$TORCH_INDEX" -r "$venv/torch.txt"
fi
case $what in
    book) install -r requirements.txt ;;
    test) install -r requirements-test.txt ;;
    bench) install -r requirements-bench.txt ;;
esac
if [ "$what" != book ]; then install --no-deps -r requirements-peers.txt; fi
"$venv/bin/python" -c 'import lib, torch, torchvision' || stop \
    "The packages are installed but do not work together; the message above says why." \
    "If torch and torchvision come from different indexes, remove $venv and start again."
if [ "$what" != book ]; then (what=book && wanted) >"$venv/complete-book"; fi
if [ "$what" = bench ]; then (what=test && wanted) >"$venv/complete-test"; fi
wanted >"$complete"
echo "$venv is ready." >&2
