#!/bin/sh
# Makes tests/data anew with the Python in $PYTHON (default: python3), which needs the packages of
# requirements.txt and (with --no-deps) requirements-no-deps.txt. Takes about a minute on one core. The same versions give the same files.
set -e
cd "$(dirname "$0")"
for script in tiny_models expected reuse noise schedulers if_sampling clip_bpe variants if_unet clip_projection t5_tokenizer t5_encoder if_cascade captions explain clip_vision annotations convert; do
    echo "== $script"
    "${PYTHON:-python3}" "$script.py"
done
