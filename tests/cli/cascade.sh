#!/bin/sh
# A pixel cascade on the command line: stages found, given and missing. Prints `ok NAME` or
# `not ok NAME`.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
data=$root/tests/data/if-cascade
cp -R "$data/IF-I-T-v1.0" alone

one="-m $data/IF-I-T-v1.0"
fast="--steps 1 -q"

status inspect 0 "" inspect "$data/IF-I-T-v1.0"
ok inspect_lists_stages sh -c 'grep -q "stage 1 .*IFPipeline, 16 x 16" out && grep -q "stage 2 .*32 x 32.*noise level 250" out && grep -q "stage 3 .*128 x 128" out'
status inspect_json 0 "" inspect "$data/IF-I-T-v1.0" --json --stages 2
ok inspect_json_lists_stages grep -q '"stages":\[{"name":"stage 1".*"noise_level":250' out
status tokenize 0 "" tokenize " A RED cat " $one --json
cp out upper
status tokenize_lower 0 "" tokenize "a red cat" $one --json
ok prompts_are_lowered_and_stripped cmp out upper

status all_stages 0 "" lens "a red cat" $one $fast -l last -o all
ok all_stages_are_recorded grep -q '"stable-diffusion-x4-upscaler\|stable-diffusion-x4-upscaler"' all/manifest.json
status first_stage 0 "" lens "a red cat" $one $fast -l 0,4 -o first --stages 1 --latents first.safetensors
ok pixels_are_written sh -c 'head -c 400 first.safetensors | grep -q "\[1,3,16,16\]"'
status first_stage_again 0 "2 of the pictures were there, 0 made" lens "a red cat" $one --steps 1 -l 0,4 -o first --stages 1 --latents first.safetensors
status other_stages_are_other_settings 2 "other settings" lens "a red cat" $one $fast -l 0,4 -o first --stages 2
status size_of_the_last_stage 0 "" lens "a red cat" $one $fast -l 4 -o wide --stages 2 --size 48x32
status size_that_no_stage_makes 2 "multiples of 4" lens "a red cat" $one $fast -o odd --stages 2 --size 34x32
status list_of_timesteps 0 "" generate "a red cat" $one -q --stages 1 --timesteps fast27 -o list.png
ok list_says_the_steps sh -c "tr '\\0' ' ' < list.png | grep -aq 'steps 27'"
status lists_of_all_stages 0 "" generate "a red cat" $one -q --timesteps fast27,super40 -o lists.png
status list_for_the_upscaler 2 "ddim" generate "a red cat" $one -q --timesteps fast27,super40,super40 -o lists.png
status unknown_list 2 "fast27" generate "a red cat" $one -q --timesteps fast26

status no_stage_beside 3 "--stage2" lens "a red cat" -m alone $fast --stages 2 -o none
status one_stage_alone 0 "" lens "a red cat" -m alone $fast -l last -o alone-1
status second_stage_given 0 "" lens "a red cat" -m alone $fast -l last -o alone-2 --stage2 "$data/IF-II-T-v1.0"
status third_without_second 3 "stage 2 is missing" inspect alone --stage3 "$data/stable-diffusion-x4-upscaler"
status stage_that_is_none 3 "IFSuperResolutionPipeline" inspect alone --stage2 "$data/stable-diffusion-x4-upscaler"
status stages_out_of_range 2 "--stages" inspect alone --stages 4
status stages_of_no_cascade 2 "cascade" inspect "$data/../tiny-sd1" --stages 2
status bench 0 "" bench $one --repeats 1
