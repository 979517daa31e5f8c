#!/bin/sh
# The command line: results, exit statuses and messages. Prints `ok NAME` or `not ok NAME`.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
tiny=$root/tests/data/tiny-sd1
fast="--steps 1 --size 64x64 -q"

# ---- help and version
status usage_without_arguments 2 "usage:"
status help 0 "" --help
ok help_lists_commands grep -q "generate" out
status help_of_a_command 0 "" help generate
status help_of_nothing 2 "no such command" help nothing
for command in lens generate encode tokenize inspect convert bench; do "$dlens" $command --help; done > help
ok help_fits_80_columns sh -c '! grep -Eq ".{81}| $" help'
status version 0 "" --version
ok version_names_the_build grep -Eq "^dlens [0-9.]+ \(.*(ref|avx2|avx512|neon)\)" out
for command in lens generate encode tokenize inspect convert bench; do
    status "help_of_$command" 0 "" "$command" --help
    ok "example_of_$command" grep -q "example:" out
done

# ---- the lens
status lens 0 "" lens "a dog" -m "$tiny" $fast -l 0,2:,-1 --seeds 2 -o run
ok lens_prints_the_report [ "$(tail -n 1 out)" = run/index.html ]
ok lens_makes_pictures [ "$(find run -name 'layer-*.png' | wc -l)" -eq 8 ]
ok lens_makes_the_sheet test -s run/sheet.png
ok lens_makes_the_manifest grep -q '"complete":[[:space:]]*true' run/manifest.json
ok report_needs_no_network sh -c '! grep -Eq "(src|href)=\"?https?://[^\"]*\.(js|css|png)" run/index.html'
status lens_again_remakes_nothing 0 "" lens "a dog" -m "$tiny" --steps 1 --size 64x64 -l 0,2:,-1 --seeds 2 -o run
ok lens_says_what_it_found grep -q "8 of the pictures were there, 0 made" err
status lens_of_other_settings 2 "other settings" lens "a dog" -m "$tiny" $fast -l 1 -o run
status lens_overwrites 0 "" lens "a dog" -m "$tiny" $fast -l 1 -o run --overwrite
status lens_by_a_long_way 0 "" lens "a dog" -m "$tiny/../tiny-sd1/" $fast -l 1 -o ./run/
ok long_way_remade_nothing grep -q '"complete":[[:space:]]*true' run/manifest.json
status short_form 0 "" "a dog" -m "$tiny" $fast -l last
ok default_folder_is_the_slug test -s lens-out/a-dog/index.html
status default_folder_counts_on 0 "" "a dog" -m "$tiny" $fast -l 0
ok second_folder test -s lens-out/a-dog-2/index.html
status options_before_the_prompt 0 "" -m "$tiny" $fast -l last -o first "a dog"
status several_prompts 0 "" lens "a dog" "ein Hund, größer" -m "$tiny" $fast -l last -o two
ok sheet_of_each_prompt test -s two/sheet-0.png -a -s two/sheet-1.png
status json 0 "" lens "a dog" -m "$tiny" $fast -l last -o run2 --json
ok json_is_one_object grep -q '^{.*"report":"run2/index.html".*}$' out
DLENS_MODEL=$tiny "$dlens" lens "a dog" $fast -l last -o env > out 2> err
ok model_from_the_environment [ -s env/index.html ]
status json_of_a_large_seed 0 "" lens "a dog" -m "$tiny" $fast -l last -s 18446744073709551615 -o run3 --json
ok json_keeps_the_seed grep -q '"seed":18446744073709551615,' out
status skip_layer 0 "" lens "a dog" -m "$tiny" $fast -l last --skip-layer 2 -o skip
status norm_none 0 "" lens "a dog" -m "$tiny" $fast -l 1 --norm none -o norm
status skip_each 0 "" lens "a dog" -m "$tiny" $fast -l last --skip-each -o each
ok skip_each_prints_the_report [ "$(cat out)" = each/index.html ]
ok skip_each_table test "$(head -1 each/skip-each.csv)" = block,prompt,seed,layer,distance,from_last,conditioning,cosine -a "$(wc -l < each/skip-each.csv)" = 5
ok skip_each_differs sh -c '! grep -q "^[1-4],0,0,4,0," each/skip-each.csv'
ok skip_each_rows [ "$(grep -o 'href="skip-each/block-0[1-4]/index.html">without block [1-4]' each/index.html | wc -l)" = 4 ]
ok skip_each_is_skip cmp skip/0-a-dog/seed-0/layer-04.png each/skip-each/block-02/0-a-dog/seed-0/layer-04.png
status skip_each_again 0 "1 of the pictures were there, 0 made" lens "a dog" -m "$tiny" --steps 1 --size 64x64 -l last -o each/skip-each/block-03 --skip-layer 3
rm each/skip-each/block-04/0-a-dog/seed-0/layer-04.png
status skip_each_controls 0 "4 of the pictures were there, 2 made" lens "a dog" -m "$tiny" --steps 1 --size 64x64 -l last --skip-each --controls norm-none -o each
ok skip_each_controls_too test -f each/controls.csv -a -f each/controls/norm-none/manifest.json -a ! -e each/skip-each/block-01/controls
cp each/skip-each/block-01/manifest.json each/skip-each/block-02/manifest.json
printf '{' > each/skip-each/block-03/manifest.json
status skip_each_of_others 0 "block-03" lens "a dog" -m "$tiny" --steps 1 --size 64x64 -l last -o each
ok skip_each_leaves_out [ "$(cut -d, -f1 each/skip-each.csv | tr '\n' ' ')" = "block 1 4 " ]
status skip_each_overwritten 0 "" lens "a dog" -m "$tiny" $fast -l 0 -o each --overwrite
ok skip_each_is_cleared [ ! -e each/skip-each/block-04/0-a-dog -a ! -e each/skip-each.csv ]
status controls_unknown 2 "norm-block" lens "a dog" -m "$tiny" --controls none
status skip_each_with_skip 2 "--skip-layer" lens "a dog" -m "$tiny" --skip-each --skip-layer 1
status control 0 "" lens "a dog" -m "$tiny" $fast -l last --control padding -o padding
status control_unknown 2 "shuffled" lens "a dog" -m "$tiny" --control noise
status norm_match 0 "" lens "a dog" -m "$tiny" $fast -l 1 --norm match -o match
status norm_unknown 2 "block or match" lens "a dog" -m "$tiny" --norm rms -o bad
status explain 0 "" lens "a dog" -m "$tiny" $fast -l last --explain -o explain
ok explain_files test -s explain/0-a-dog/explain.safetensors -a -s explain/0-a-dog/seed-0/layer-04.heat.safetensors
ok explain_report grep -q "Other ways of looking" explain/index.html
status native 0 "" lens "a dog" -m "$tiny" $fast -l last --native -o native
ok native_is_made test -s native/0-a-dog/seed-0/native.png
status show 0 "" lens "a dog" -m "$tiny" $fast -l last --show -o show
ok show_draws grep -q "layer 4" out

# ---- generate equals the last layer, byte for byte
status generate 0 "" generate "a dog" -m "$tiny" $fast -s 3 -o dog.png
status lens_last 0 "" lens "a dog" -m "$tiny" $fast -s 3 -l last -o last
ok last_layer_is_generate cmp dog.png last/0-a-dog/seed-3/layer-04.png
status generate_several 0 "" generate "a dog" "a cat" -m "$tiny" $fast --seeds 2 -o many
ok generate_fills_a_folder [ "$(ls many | wc -l)" -eq 4 ]
ok generate_names_its_pictures test -s many/1-a-cat-seed-1.png
status generate_makes_folders 0 "" generate "a dog" -m "$tiny" $fast -o deep/er/dog.png
status generate_latents 0 "" generate "a dog" "a cat" -m "$tiny" $fast -o lats --latents lats/l.safetensors
ok generate_latents_names grep -aq '"prompt.1.layer.4.seed.0"' lats/l.safetensors
status generate_json 0 "" generate "a dog" -m "$tiny" $fast -s 18446744073709551615 -o dog2.png --json
ok generate_json_keeps_the_seed grep -q '"seed":18446744073709551615,"file":"dog2.png"' out
status generate_into_a_folder 2 "is a folder" generate "a dog" -m "$tiny" $fast -o many

# ---- latents and noise
status latents 0 "" lens "a dog" -m "$tiny" $fast -l 0,-1 -o lat --latents lat.safetensors
ok latents_are_there grep -aq 'layer.4.seed.0' lat.safetensors
status latents_into_a_folder 2 "is a folder" lens "a dog" -m "$tiny" $fast -o lat2 --latents many
status latents_are_the_picture 2 "picture's file" generate "a dog" -m "$tiny" $fast -o same --latents same
ok latents_are_checked_first [ ! -e lat2 ]
status noise_of_wrong_kind 2 "noise" lens "a dog" -m "$tiny" $fast --noise lat.safetensors -o n
tensor_noise() { # shape, bytes of data: noise.safetensors with such a tensor of NaNs
    header="{\"noise\":{\"dtype\":\"F32\",\"shape\":[$1],\"data_offsets\":[0,$2]}}"
    printf "\\$(printf %o ${#header})\\0\\0\\0\\0\\0\\0\\0%s" "$header" > noise.safetensors
    head -c "$2" /dev/zero | tr '\0' '\377' >> noise.safetensors
}
tensor_noise 1,4,0,8 0
status noise_of_no_size 2 "0 x 8" lens "a dog" -m "$tiny" $fast --noise noise.safetensors -o n
tensor_noise 1,4,8,8 1024
status noise_not_finite 2 "finite" lens "a dog" -m "$tiny" $fast --noise noise.safetensors -o n
status noise_missing 2 "none.safetensors" lens "a dog" -m "$tiny" $fast --noise none.safetensors

# ---- prompts from files
printf 'a dog\r\n\na cat\n' > prompts.txt
status prompts_file 0 "" lens --prompts prompts.txt -m "$tiny" $fast -l last -o file
ok prompts_file_two [ -s file/sheet-1.png ]
printf 'class,prompt\ndog,"a dog, sitting"\ncat,a cat\n' > prompts.csv
status prompts_csv 0 "" lens --prompts prompts.csv -m "$tiny" $fast -l last -o csv
ok prompts_csv_two [ -d csv/1-a-cat ]
printf 'class\ndog\n' > noprompt.csv
status csv_without_prompt 2 "column" lens --prompts noprompt.csv -m "$tiny" $fast
status prompts_missing 2 "nothere.txt" lens --prompts nothere.txt -m "$tiny" $fast
: > empty.txt
status prompts_empty 2 "no prompt" lens --prompts empty.txt -m "$tiny" $fast
printf 'a dog\na \377 dog\n' > latin.txt
status prompts_latin 2 "latin.txt: line 2: byte 2" lens --prompts latin.txt -m "$tiny" $fast
printf 'class,prompt\ndog,a \377 dog\n' > Latin.Csv
status prompts_csv_latin 2 "Latin.Csv: line 2: byte 2" lens --prompts Latin.Csv -m "$tiny" $fast
printf 'a \0 dog\n' > nul.txt
status prompts_nul 2 "NUL" lens --prompts nul.txt -m "$tiny" $fast
printf 'a dog\n' | "$dlens" lens - -m "$tiny" $fast -l last -o stdin > out 2> err
ok prompts_stdin test -s stdin/index.html
status prompts_stdin_empty 2 "standard input: no prompt" lens - -m "$tiny" $fast

mkfifo pipe && printf 'a dog\na cat\n' > pipe &
while [ ! -p pipe ]; do sleep 0.1; done
status prompts_pipe 0 "" lens --prompts pipe -m "$tiny" $fast -l last -o piped
ok prompts_pipe_two test -s piped/sheet-1.png
status prompts_folder 2 "is a folder" lens --prompts many -m "$tiny" $fast

# ---- odd prompts
status invalid_utf8 2 "UTF-8" lens "$(printf 'a \377 dog')" -m "$tiny" $fast -o bad
status invalid_negative 2 "UTF-8" lens "a dog" --negative "$(printf '\377')" -m "$tiny" $fast -o bad
status odd_prompt 0 "" lens "$(printf 'a/../\t\033[31m\n\\"')" -m "$tiny" $fast -l last -o odd
ok odd_prompt_stays_inside test -s odd/0-a-31m/seed-0/layer-04.png
status prompt_like_an_option 0 "" -m "$tiny" $fast -l last -o dashes -- --steps
status empty_prompt 0 "" lens "" -m "$tiny" $fast -l last -o emptyprompt
head -c 1000000 /dev/zero | tr '\0' 'a' > long.txt
status long_prompt 0 "" lens --prompts long.txt -m "$tiny" --steps 1 --size 64x64 -l last -o long
ok long_prompt_says_cut grep -q "cut" err
status long_negative 0 "warning: --negative: cut to 77 tokens" generate "a dog" -m "$tiny" --steps 1 \
    --negative "$(head -c 200 long.txt)" -o negative.png

# ---- calls that are wrong
status no_prompt 2 "prompt" lens -m "$tiny"
status unknown_option 2 "did you mean --steps" lens "a dog" --stepss 3
status option_of_another_command 2 "does not take" tokenize "a dog" --steps 3
status option_without_value 2 "missing" lens "a dog" --steps
status unknown_command 2 "did you mean lens" lense -m "$tiny" --help
status convert_takes_no_argument 2 "the model is -m colors" convert colors
for spec in 5 -6 0:x 1,,2 "" 0:0 ::0 a 99999999999999999999; do
    status "layers_$spec" 2 "dlens: --layers $spec: " lens "a dog" -m "$tiny" $fast -l "$spec" -o bad
done
for pair in "steps 0" "steps x" "steps 99999" "guidance x" "guidance -1" "size 60x64" "size 0x0" \
    "size 64" "size 99999999x8" "seed x" "seed -1" "seed 1,1" "seed 18446744073709551616" \
    "seeds 0" "sampler none" "norm some" "threads 0" "threads x" "precision f8" "eta 2" \
    "max-memory x" "progress maybe" "encoder 0" "skip-layer 5" "skip-layer 0"; do
    name=$(echo "$pair" | tr ' ,-' '___')
    # shellcheck disable=SC2086
    status "option_$name" 2 "dlens: --${pair%% *}" lens "a dog" -m "$tiny" --$pair -o bad
done
status too_many_pictures 2 "at most 100000 pictures" lens "a dog" -m "$tiny" --seeds 1000000 -o bad
status second_encoder 2 "encoder" lens "a dog" -m "$tiny" --encoder 2 -o bad
status empty_output 2 "empty" lens "a dog" -m "$tiny" $fast -o ""
status empty_model 2 "empty" lens "a dog" -m "" $fast -o bad
status too_large_for_the_machine 1 "machine" lens "a dog" -m "$tiny" --size 16384x16384 -o bad
status max_memory 1 "needs" lens "a dog" -m "$tiny" $fast --max-memory 1k -o bad
ok nothing_was_written [ ! -e bad ]
status memory_to_spare 0 "" generate "a dog" -m "$tiny" $fast -o spare.png --max-memory 2G
status memory_too_short 1 "at least" generate "a dog" -m "$tiny" $fast -o short.png --max-memory 1k
least=$(sed -n 's/.*at least \([0-9]*\) MB.*/\1/p' err)
status memory_just_enough 0 "memory: up to" generate "a dog" -m "$tiny" --steps 1 --size 64x64 -v \
    -o short.png --max-memory "$((least + 1))M"
ok memory_changes_no_pixel cmp spare.png short.png
status inspect_within 0 "" inspect "$tiny" --max-memory 2G
ok inspect_tells_memory grep -q "MB resident" out

# ---- models that are unusable
status model_missing 3 "nowhere" lens "a dog" -m nowhere/model -o bad
status model_is_a_file 3 "file" lens "a dog" -m dog.png -o bad
mkdir bin && cp -R "$tiny/." bin && mv bin/unet/diffusion_pytorch_model.safetensors bin/unet/diffusion_pytorch_model.bin
status model_of_pickles 3 "safe" lens "a dog" -m bin -o bad

# ---- folders that cannot be written
if [ "$(id -u)" -ne 0 ]; then
    mkdir ro && chmod 500 ro
    status unwritable 1 "ro" lens "a dog" -m "$tiny" $fast -l last -o ro/out
fi
status folder_is_a_file 2 "file" lens "a dog" -m "$tiny" $fast -l last -o dog.png
(ulimit -f 8 && "$dlens" lens "a dog" -m "$tiny" $fast -l 0,last -o limited > out 2> err)
ok limited_files_are_told [ $? -eq 1 -a -s err -a -z "$(find limited -name '*.tmp')" ]
if [ -e /dev/full ]; then
    "$dlens" tokenize "a dog" -m "$tiny" > /dev/full 2> err
    ok full_standard_output [ $? -eq 1 -a -s err ]
fi

"$dlens" tokenize "a dog" -m "$tiny" >&- 2> err
ok closed_standard_output [ $? -eq 1 -a -s err ]
"$dlens" lens "a dog" -m "$tiny" $fast -l last -o closed >&- 2>&- <&-
ok closed_descriptors_get_no_files [ "$(head -c 1 closed/manifest.json)" = "{" ]
"$dlens" inspect "$tiny" --tensors 2> err | head -n 1 > out
ok closed_pipe_is_quiet [ ! -s err ]

# ---- encode, tokenize, inspect, bench
status encode 0 "" encode "a dog" -m "$tiny" -o states.safetensors
ok encode_tensors grep -aq '"cond.4"' states.safetensors
ok encode_hidden grep -aq '"hidden.0"' states.safetensors
status encode_into_a_folder 2 "is a folder" encode "a dog" -m "$tiny" -o many
printf 'a dog\na red cat\nsnow\n' > set.txt
status encode_units 0 "" encode -m "$tiny" --units 2.ff.1,4.out.0 --prompts set.txt --top 2 -o units.json
ok encode_units_table test "$(grep -c '^[24]\.' out)" = 2 -a "$(wc -l < out)" = 6
ok encode_units_file grep -q '"unit":.*"4.out.0"' units.json
status encode_units_unknown 2 "is no unit" encode "a dog" -m "$tiny" --units 9.ff.1
status encode_set_without_units 2 "goes with --units" encode "a dog" -m "$tiny" --prompts set.txt
status encode_json 0 "" encode "a dog" -m "$tiny" --json
ok encode_json_layers grep -q '"layers":4' out
status tokenize 0 "" tokenize "a dog" -m "$tiny" --json
ok tokenize_json grep -Eq '^\{"ids":\[600,.*601\],"pieces":\["<\|startoftext\|>",.*\],"padded":\[600,.*\]\}$' out
status tokenize_two 2 "quotes" tokenize a dog -m "$tiny"
status inspect 0 "" inspect "$tiny"
ok inspect_says_layers grep -q "4 layers" out
status inspect_tensors 0 "" inspect "$tiny" --tensors
ok inspect_lists_tensors grep -q "conv_in.weight" out
status inspect_json 0 "" inspect "$tiny" --json
ok inspect_json_is_json grep -q '^{"path".*}$' out
status inspect_two 2 "given already" inspect "$tiny" -m "$tiny"
status inspect_nothing 3 "" inspect nowhere/model
status bench 0 "" bench -m "$tiny" --size 64x64 --repeats 1 --json
ok bench_json grep -q '"unet_step":{"seconds":' out
ok bench_operations grep -q '"operation":"conv 3x3 2x8x8, 12 <- 12' out
status bench_parts 0 "" bench -m "$tiny" --size 64x64 --repeats 1 --parts --json
ok bench_parts_only [ -z "$(grep operation out)" ]

# ---- interruption: what is finished is kept, and the run goes on
"$dlens" lens "a dog" -m "$tiny" --steps 100 --seeds 20 --size 64x64 -q -o stop > out 2> err &
pid=$!
waited=0 # a slow machine or a sanitizer may need a minute for the first picture
while [ ! -e stop/0-a-dog/seed-0/layer-00.png ] && [ $waited -lt 600 ]; do
    sleep 0.2
    waited=$((waited + 1))
done
kill -INT $pid
wait $pid
ok interrupted_status [ $? -eq 130 ]
ok interrupted_is_incomplete grep -q '"complete":[[:space:]]*false' stop/manifest.json
ok interrupted_keeps_pictures test -s stop/0-a-dog/seed-0/layer-00.png
ok no_partial_files [ -z "$(find stop -name '*.tmp')" ]
ok interrupted_says_so grep -q "interrupted" err

"$dlens" bench -m "$tiny" --repeats 1000 --size 256x256 > out 2> err &
pid=$!
sleep 1
kill -TERM $pid
wait $pid
ok others_end_at_once [ $? -eq 130 ]

# ---- killed in the middle: the run goes on, nothing half made is left
"$dlens" lens "a dog" -m "$tiny" --steps 200 --size 64x64 -q -o killed --latents killed/l.safetensors > out 2> err &
pid=$!
sleep 1
kill -KILL $pid
wait $pid 2> /dev/null
: > killed/manifest.json.99999999-0.tmp
status killed_is_resumed 0 "" lens "a dog" -m "$tiny" --steps 200 --size 64x64 -q -o killed --latents killed/l.safetensors
ok killed_leaves_nothing [ -z "$(find killed -name '*.tmp')" ]

# ---- the bundled model is found by name from anywhere
if [ -d "$root/weights/emoji-clip" ]; then
    DLENS_WEIGHTS=$root/weights "$dlens" generate "a dog" -m emoji-clip --steps 1 -q -o emoji.png > out 2> err
    ok bundled_model_by_name test -s emoji.png
fi
