#!/bin/sh
# Fetches, renders, trains, exports and evaluates. `./train.sh --smoke` is the short form for CI.
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu spares the GPU libraries.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${CROSSALIGN_MINI_CACHE:-$HOME/.cache/crossalign-mini}
if [ ! -e "$cache/venv/done" ]; then
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install -q -r "$here/requirements.txt"
    touch "$cache/venv/done"
fi
python=$cache/venv/bin/python
"$python" "$here/train.py" --cache "$cache" "$@"
case " $* " in *" --smoke "*) exit ;; esac
"$python" "$here/make_testset.py" "$cache/testset" --cache "$cache"
"$python" "$here/evaluate.py" "$cache/testset"
