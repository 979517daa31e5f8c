#!/bin/sh
# --precision, --activations: what is told and kept, with the plain C table, which has products in bf16 everywhere.
# Prints `ok NAME` or `not ok NAME`.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
export DLENS_ISA=ref
model=$root/tests/data/tiny-sd1

status fast 0 "" lens "a dog" -m "$model" --steps 1 --layers 0 -q -o run --precision fast
ok nothing_to_tell [ ! -s err ]
ok manifest_tells_it grep -q '"precision":.*"bf16"' run/manifest.json
ok picture_tells_it grep -q 'precision' run/0-a-dog/seed-0/layer-00.png
ok page_tells_it grep -q 'bf16' run/index.html
status no_other_precision_in_a_run 2 "other settings" lens "a dog" -m "$model" --steps 1 --layers 0 -q -o run
status resumed_in_the_same 0 "" lens "a dog" -m "$model" --steps 1 --layers 0 -q -o run --precision fast

status f32_by_name 0 "" lens "a dog" -m "$model" --steps 1 --layers 0 -q -o plain --precision f32
status f32_by_default 0 "" lens "a dog" -m "$model" --steps 1 --layers 0 -q -o plain
ok manifest_is_silent_of_f32 sh -c '! grep -q \"precision\": plain/manifest.json'

# encodings are kept apart: what fast has written is not what f32 reads
status cache_fast 0 "" lens "a dog" -m "$model" --steps 1 --layers 0 -q -o a --cache kept --precision fast
status cache_f32 0 "" lens "a dog" -m "$model" --steps 1 --layers 0 -q -o b --cache kept
status no_cache 0 "" lens "a dog" -m "$model" --steps 1 --layers 0 -q -o c
ok cache_holds_all sh -c '[ $(ls kept | wc -l) -eq 4 ]' # prompt and empty negative, of each
ok cache_mixes_nothing cmp b/0-a-dog/seed-0/layer-00.png c/0-a-dog/seed-0/layer-00.png

# activations held in f16
status held_in_f16 0 "" lens "a dog" -m "$model" --steps 1 --layers 0 -q -o held --activations f16
ok manifest_tells_activations grep -q '"activations":.*"f16"' held/manifest.json
ok picture_tells_activations grep -q 'activations' held/0-a-dog/seed-0/layer-00.png
ok page_tells_activations grep -q 'Activations held' held/index.html
status no_other_activations_in_a_run 2 "other settings" lens "a dog" -m "$model" --steps 1 --layers 0 -q -o held
status activations_in_no_other_format 2 "must be f32 or f16" lens "a dog" -m "$model" --activations bf16

# a table without such products says so
if DLENS_ISA=avx2 "$dlens" --version > /dev/null 2>&1; then
    export DLENS_ISA=avx2
    status told_where_not_fast 0 "computing in f32" lens "a dog" -m "$model" --steps 1 --layers 0 -o d --precision fast
    ok told_once [ "$(grep -c 'computing in f32' err)" -eq 1 ]
    ok then_it_is_f32 sh -c '! grep -q \"precision\": d/manifest.json'
fi

# ---- encodings of a model whose weights were edited are not taken
cp -R "$model" edited
"$dlens" encode "a dog" -m edited --cache edits -o before.st > out 2> err
weights=edited/text_encoder/model.safetensors
size=$(wc -c < $weights)
dd if=/dev/zero of=$weights bs=1 seek=$((size / 3)) count=$((size / 3)) conv=notrunc 2> err
"$dlens" encode "a dog" -m edited --cache edits -o cached.st > out 2> err
"$dlens" encode "a dog" -m edited -o fresh.st > out 2> err
ok edited_weights_are_encoded_anew sh -c '! cmp -s before.st cached.st && cmp cached.st fresh.st'
