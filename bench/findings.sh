#!/bin/sh
# What is found in models: every built-in experiment, the paper's comparisons over them, what the
# final norm is worth, and the first two models side by side.
#
#   bench/findings.sh OUT [MODEL...]      default: emoji-clip emoji-t5
#
# OUT/MODEL/SET are the experiments' folders (the same line again goes on where it was stopped),
# OUT/MODEL/norm-NAME-SET those without the final norm or with another one, OUT/compare-SET the
# comparisons of two models. All that is printed also goes to OUT/findings.txt. DLENS says which
# program, LAYERS which layers (default every second and the last), SEEDS how many seeds (default 4),
# NORM_SETS the sets that are made with other norms (default simple and colors).
set -eu

DLENS=${DLENS:-./dlens}
LAYERS=${LAYERS:-0::2,-1}
SEEDS=${SEEDS:-4}
NORM_SETS=${NORM_SETS:-simple colors}
SETS="simple colors two-colors relations common uncommon syntax"
out=${1:?usage: bench/findings.sh OUT [MODEL...]}
shift
[ $# -gt 0 ] || set -- emoji-clip emoji-t5
mkdir -p "$out"
: > "$out/findings.txt"

say() { printf '%s\n' "$*" | tee -a "$out/findings.txt"; }

# A heading, and what a command prints.
show() {
    say "" "## $1"
    shift
    "$@" > "$out/printed.txt" || exit
    tee -a "$out/findings.txt" < "$out/printed.txt"
}

name_of() { basename "$1"; }

experiments() { # MODEL
    start=$(date +%s)
    for set in $SETS; do
        "$DLENS" experiment "$set" -m "$1" -l "$LAYERS" --seeds "$SEEDS" -o "$out/$(name_of "$1")/$set"
    done
    for set in dog dog-and-cat; do
        "$DLENS" experiment "$set" -m "$1" --seeds "$SEEDS" -o "$out/$(name_of "$1")/$set"
    done
    say "all built-in sets on $(name_of "$1"): $(($(date +%s) - start)) s"
}

comparisons() { # MODEL
    m=$(name_of "$1") at=$out/$(name_of "$1")
    compare() { # NAME SET/QUESTION... [SET...]: annotation files, and prompt sets for the properties
        kind=$1 files=
        shift
        for file; do
            case $file in
            */*) files="$files $at/${file%/*}/annotations/${file#*/}.csv" ;;
            *) files="$files $at/$file/prompts.csv" ;;
            esac
        done
        # shellcheck disable=SC2086
        "$DLENS" analyse --no-color --compare "$kind" $files
    }
    show "$m: simple against compound" \
        compare complexity simple/class colors/color two-colors/binding relations/relation
    show "$m: objects before binding, two colours" \
        compare binding two-colors/class1 two-colors/class2 two-colors/binding
    show "$m: objects before binding, relations" \
        compare binding relations/class1 relations/class2 relations/relation
    show "$m: natural against unnatural colours" compare natural colors/class colors/color colors
    show "$m: natural against unnatural pairs" \
        compare natural relations/class1 relations/class2 relations/relation relations
    show "$m: common against uncommon" \
        compare common common/animal uncommon/animal common uncommon
    show "$m: coarse before fine, common" compare coarse common/is_animal common/class common/animal
    show "$m: coarse before fine, uncommon" \
        compare coarse uncommon/is_animal uncommon/class uncommon/animal
    show "$m: which noun comes first" compare order syntax/noun_0 syntax/noun_1 syntax
}

norms() { # MODEL
    at=$out/$(name_of "$1")
    for set in $NORM_SETS; do
        for norm in none block match; do
            "$DLENS" experiment "$set" -m "$1" -l "$LAYERS" --seeds "$SEEDS" --norm "$norm" \
                -o "$at/norm-$norm-$set"
            show "$(name_of "$1"): $set with the final norm (A) and with --norm $norm (B)" \
                "$DLENS" compare --no-color "$at/$set" "$at/norm-$norm-$set" -o "$at/compare-$norm-$set"
        done
    done
}

for model; do experiments "$model"; done
for model; do
    at=$out/$(name_of "$model")
    for set in $SETS; do
        show "$(name_of "$model"): $set" "$DLENS" analyse --no-color "$at/$set/annotations/"*.csv
    done
    comparisons "$model"
done
if [ $# -gt 1 ]; then
    for set in $SETS; do
        show "$set: $(name_of "$1") (A) and $(name_of "$2") (B)" "$DLENS" compare --no-color \
            "$out/$(name_of "$1")/$set" "$out/$(name_of "$2")/$set" -o "$out/compare-$set"
    done
fi
for model; do norms "$model"; done
