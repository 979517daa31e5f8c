#!/bin/sh
# The folders of src/ have ranks; a file includes only lower ranks and its own folder:
#   base < kernels, store, out < nn, stats < text | diffusion | vision < family | judge <
#   lens | convert < study < api
#   < app
# Folders of equal rank do not include each other. Prints a line for each folder.
cd "$(dirname "$0")/../.." || exit 1

rank() {
    case $1 in
    base) echo 0 ;;
    kernels | store | out) echo 1 ;;
    nn | stats) echo 2 ;;
    text | diffusion | vision) echo 3 ;;
    family | judge) echo 4 ;;
    lens | convert) echo 5 ;;
    study) echo 6 ;;
    api) echo 7 ;;
    app) echo 8 ;;
    *) echo none ;;
    esac
}

for path in src/*/; do
    folder=$(basename "$path")
    own=$(rank "$folder")
    bad=
    [ "$own" = none ] && bad="folder $folder has no rank"
    for other in $(cat "$path"*.[ch] "$path"*.cpp "$path"*.inc 2>/dev/null |
        sed -n 's|^ *# *include *"\([a-z_]*\)/[^"]*".*|\1|p' | sort -u); do
        [ "$other" = "$folder" ] && continue
        its=$(rank "$other")
        if [ "$its" = none ] || [ "$own" = none ] || [ "$its" -ge "$own" ]; then
            bad="$bad $(grep -l "include *\"$other/" "$path"*.[ch] | tr '\n' ' ')include $other/;"
        fi
    done
    # Only full paths from src/: "x.h" without a folder would hide where it lies.
    short=$(grep -l '^ *# *include *"[^/"]*"' "$path"*.[ch] 2>/dev/null |
        xargs -r grep -h '^ *# *include *"[^/"]*"' | grep -v '"dlens.h"')
    [ -n "$short" ] && bad="$bad without a folder: $short"
    if [ -z "$bad" ]; then
        echo "ok includes_of_$folder"
    else
        echo "not ok includes_of_$folder"
        echo "# $bad"
    fi
done
