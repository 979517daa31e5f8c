#!/bin/sh
# Compares dlens with transformers and diffusers on full-size random models; prints a table.
#
# Makes a virtual environment in .venv-conformance (about 1 GB; pip's own settings say from where)
# unless $DLENS_PYTHON names a Python that has the packages of requirements.txt, and keeps the models
# (7 GB) in $DLENS_CONFORMANCE, by default build/conformance. Arguments go to conformance.py.
set -e
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${DLENS_PYTHON:-$root/.venv-conformance/bin/python}
if [ -z "$DLENS_PYTHON" ] && [ ! -f "$root/.venv-conformance/complete" ]; then
    echo "conformance: making $root/.venv-conformance" >&2
    python3 -m venv "$root/.venv-conformance"
    "$python" -m pip install --quiet --requirement "$here/requirements.txt"
    # Only CLIP's merges are read from it; what it depends on (torchvision) may not fit this torch.
    "$python" -m pip install --quiet --no-deps --requirement "$here/requirements-no-deps.txt"
    touch "$root/.venv-conformance/complete"
fi
exec "$python" "$here/conformance.py" --work "${DLENS_CONFORMANCE:-$root/build/conformance}" "$@"
