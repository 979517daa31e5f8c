#!/bin/sh
# Folders of results: what may be written where, and models that are taken for one another. Prints
# `ok NAME` or `not ok NAME`.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
tiny=$root/tests/data/tiny-sd1
fast="--steps 1 --size 64x64 -l 0"
lens="lens a -m $tiny $fast"

# ---- other files in the folder
status first 0 "" $lens -o run
touch run/thesis.txt
status foreign_file 2 "thesis.txt" $lens -o run
status overwritten_goes_on 0 "1 of the pictures were there, 0 made" $lens -o run --overwrite
ok foreign_file_stays [ -e run/thesis.txt ]
status own_latents 0 "" $lens -o kept --latents kept/l.st
status own_latents_are_not_foreign 0 "1 of the pictures were there, 0 made" $lens -o kept
for file in manifest.json index.html sheet.png; do
    status "latents_as_$file" 2 "--latents" $lens -o taken --latents "taken/$file"
done
status explain_of_a_control 2 "--explain" $lens -o refused --explain --control padding
ok refused_leaves_no_folder [ ! -e refused ]

# ---- paths that lead elsewhere once their folders are there
status through_a_new_folder 2 "other settings" lens b -m "$tiny" $fast -o new/../kept
ok kept_stays grep -q '"text":[[:space:]]*"a"' kept/manifest.json
for path in /dev/null dangling; do
    [ $path = dangling ] && ln -s nowhere dangling
    status "no_folder_$(basename $path)" 2 "no folder" $lens -o $path
done

# ---- two at once
for steps in 40 41; do
    "$dlens" lens twins -m "$tiny" --steps $steps --size 64x64 -l 0,1 -j 1 -q > "out-$steps" 2> err &
done
wait
ok two_at_once [ "$(cat out-40 out-41 | sort)" = "lens-out/twins-2/index.html
lens-out/twins/index.html" ]

# ---- another model is not the same
cp -R "$tiny" model
status of_a_model 0 "" lens a -m model $fast -o of
status moved_is_the_same 0 "1 of the pictures were there" lens a -m "$tiny" $fast -o of
sed 's/"beta_end": *[0-9.]*/"beta_end": 0.02/' "$tiny/scheduler/scheduler_config.json" > model/scheduler/scheduler_config.json
status other_schedule 2 "weights" lens a -m model $fast -o of
cp "$tiny/scheduler/scheduler_config.json" model/scheduler/
unet=model/unet/diffusion_pytorch_model.safetensors
dd if=/dev/zero of=$unet bs=1000 seek=$(($(wc -c < $unet) / 2000)) count=20 conv=notrunc 2> err
status other_weights 2 "weights" lens a -m model $fast -o of

# ---- names from a model's files
cp -R "$tiny" loud
sed 's/DDIMScheduler/DDIM\\u001b[2JScheduler/' "$tiny/model_index.json" > loud/model_index.json
"$dlens" inspect loud > out 2> err
ok no_escape_from_names sh -c '! grep -q "$(printf "\033")" out err'

# ---- memory: sheets and reports of many pictures are told of before work
status many_pictures_little_memory 1 "sheets and the report" lens a -m "$tiny" $fast --seeds 2000 --max-memory 150M -o many
ok little_memory_leaves_no_folder [ ! -e many ]

# ---- tokenizer and text encoder alone
mkdir text && cp -R "$tiny/model_index.json" "$tiny/tokenizer" "$tiny/text_encoder" text/
status tokenize_needs_no_unet 0 "" tokenize "a dog" -m text
status encode_needs_no_unet 0 "" encode "a dog" -m text -o alone.st
"$dlens" encode "a dog" -m "$tiny" -o beside.st > out 2> err
ok encodes_the_same cmp alone.st beside.st
status pictures_need_one 3 "unet" lens "a dog" -m text -o drawn

# ---- generate: a folder of pictures goes on where it stopped
many="generate a \303\244 -m $tiny --steps 1 --size 64x64 -o several"
many=$(printf "$many")
status several 0 "" $many --seeds 2
mv several/0-a-seed-1.png kept.png
status several_again 0 "3 of the pictures were there" $many --seeds 2 -s 0
ok lists_all_pictures [ "$(sort out | wc -l)" -eq 4 ]
ok same_bytes_again cmp kept.png several/0-a-seed-1.png
status other_options_make_all 0 "" $many --seeds 2 --guidance 2
ok made_all_again sh -c '! grep -q "were there" err && ! cmp -s kept.png several/0-a-seed-1.png'

# ---- encode within limits
status encode_within 0 "" encode "a dog" -m "$tiny" -o within.st --max-memory 200M
ok encodes_the_same_within cmp within.st beside.st
status encode_not_within 1 "--max-memory" encode "a dog" -m "$tiny" --max-memory 1M
