#!/bin/sh
# dlens experiment and dlens merge: prompt sets, resuming, shards, annotation, what is refused.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
tiny=$root/tests/data/tiny-sd1
export DLENS_WEIGHTS=$root/weights
fast="-m $tiny --steps 1 --size 64x64 -l 0,-1 --seeds 2 -q -j 1"

# ---- sets
status list 0 "" experiment --list
ok list_names_sets grep -q "^two-colors " out
status list_json 0 "" experiment --list --json
ok list_json_is_an_array grep -q '^\[{"name":.*"name":"two-colors","summary":.*}\]$' out
for command in experiment merge; do
    status "help_of_$command" 0 "" $command --help
    ok "example_of_$command" grep -q "example:" out
    ok "help_of_${command}_fits" sh -c '! grep -Eq ".{81}| $" out'
done
status builtin 0 "" experiment dog -m "$tiny" --steps 1 --size 64x64 -q
ok builtin_default_folder test -s experiment-out/dog/index.html
ok builtin_own_layers [ "$(find experiment-out/dog -name 'layer-*.png' | wc -l)" -eq 20 ]
ok builtin_four_seeds [ -d experiment-out/dog/0-a-dog/seed-3 ]
status builtin_again 0 "20 of the pictures were there, 0 made" experiment dog -m "$tiny" --steps 1 --size 64x64

cat > set.csv << END
prompt,class1,color1,class2,color2
a red dog and a blue cat,dog,red,cat,blue
An orange owl and a pink apple.,owl,orange,apple,pink
"a cat, alone",cat,,,
END
status file 0 "" experiment set.csv $fast -o whole
ok prints_the_report [ "$(cat out)" = whole/index.html ]
ok copies_the_set cmp set.csv whole/prompts.csv
for name in class1 color1 class2 color2 binding match; do
    ok "question_$name" [ -s whole/annotations/$name.csv -a -s whole/annotations/probability/$name.csv ]
done
ok scores_of_a_question [ "$(grep -c '^a red dog and a blue cat,[01],[01],[01]$' whole/annotations/binding.csv)" -eq 2 ]
ok unasked_have_no_row sh -c '! grep -q alone whole/annotations/binding.csv'
ok header_as_the_paper [ "$(head -n 1 whole/annotations/class1.csv)" = prompt,0,4,seed ]
ok reliability grep -q '"other_prompts"' whole/annotations/reliability.json
ok times_stand_apart sh -c 'grep -q "\"seconds\":[[:space:]]*null" whole/manifest.json && [ "$(wc -l < whole/times.csv)" -eq 13 ]'
ok distances_of_all_layers [ "$(cut -d, -f1-4,7 whole/distances.csv)" = "run,layer,relative_layer,pictures,prompts
lens,0,0,6,3
lens,4,1,6,3" ]
ok last_layer_is_no_distance_away grep -q '^lens,4,1,6,0,0,3,0,0,1$' whole/distances.csv
ok manifest_has_conditionings [ "$(grep -c '"cosine"' whole/manifest.json)" -eq 6 ]
ok command_without_places sh -c '! grep "\"command\"" whole/manifest.json | grep -q whole'

# ---- the same bytes after an interrupted annotation, and with other questions asked meanwhile
cp -R whole resumed
rm -r resumed/annotations/embeddings.safetensors resumed/annotations/match.csv resumed/index.html
status annotation_again 0 "" experiment set.csv $fast -o resumed
ok annotation_same_bytes diff -r --exclude times.csv whole resumed
status other_questions 2 "other settings (questions)" experiment set.csv $fast -o resumed --questions binding
status other_judge 2 "other settings (judge)" experiment set.csv $fast -o resumed --judge none
status fewer_questions 0 "" experiment set.csv $fast -o resumed --questions binding --overwrite
ok old_tables_are_gone [ ! -e resumed/annotations/match.csv -a ! -e resumed/annotations/noise/match.csv -a -s resumed/annotations/binding.csv ]
status without_judge 0 "" experiment set.csv $fast -o unjudged --judge none
ok without_judge_no_annotation [ ! -e unjudged/annotations -a -s unjudged/index.html ]
sed 's/alone",cat/alone",lion/' set.csv > properties.csv
status other_values_same_pictures 0 "12 of the pictures were there, 0 made" experiment properties.csv -m "$tiny" --steps 1 --size 64x64 -l 0,-1 --seeds 2 -o resumed --overwrite
status no_judge_any_more 0 "" experiment set.csv $fast -o resumed --judge none --overwrite
ok no_answers_any_more [ ! -e resumed/annotations ]
printf 'prompt,prompt\na,b\n' > twice.csv
status column_twice 2 "twice.csv: has two columns" experiment twice.csv $fast -o twice
ok column_twice_before_work [ ! -e twice ]
cat > other.csv << END
prompt
a dog
END
status other_prompts 2 "other settings" experiment other.csv $fast -o whole
mkdir foreign && : > foreign/thesis.txt
status foreign_files 2 "thesis.txt" experiment set.csv $fast -o foreign

# ---- killed in the middle: the same bytes, nothing made twice
long="-m $tiny --steps 16 --size 64x64 -l 0,-1 --seeds 2 -q -j 1"
"$dlens" experiment set.csv $long -o once > out 2> err
"$dlens" experiment set.csv $long -o killed > out 2> err &
pid=$!
waited=0
while [ "$(find killed -name 'layer-*.png' 2> /dev/null | wc -l)" -lt 2 ] && [ $waited -lt 600 ]; do
    sleep 0.1
    waited=$((waited + 1))
done
kill -KILL $pid
wait $pid 2> /dev/null
first=$(find killed -name 'layer-*.png' | sort | head -n 1)
inode=$(ls -i "$first")
ok killed_in_the_middle [ ! -e killed/index.html ]
mkdir -p killed/annotations/noise # and as if killed once more, while it annotated
: > killed/annotations/noise/match.csv.999999999-0.tmp
status killed_is_resumed 0 "" experiment set.csv $long -o killed
ok killed_same_bytes diff -r --exclude times.csv once killed
ok killed_made_nothing_twice [ "$(ls -i "$first")" = "$inode" ]

# ---- shards and merging
for i in 1 2 3; do
    status "shard_$i" 0 "" experiment set.csv $long --shard $i/3 -o part-$i
    ok "shard_${i}_is_a_third" [ "$(find part-$i -name 'layer-*.png' | wc -l)" -eq 4 ]
done
ok shard_prints_its_manifest [ "$(cat out)" = part-3/manifest.json ]
status shard_default_folder 0 "" experiment set.csv $fast --shard 2/2
ok shard_default_folder_is_there [ -s experiment-out/set-2-of-2/manifest.json ]
status shard_is_not_another 2 "index: 1 there, 2 now" experiment set.csv $long --shard 2/3 -o part-1
status shard_is_not_the_whole 2 "shard" experiment set.csv $long -o part-1
status merge 0 "" merge -o merged part-3 part-1 part-2
ok merge_prints_the_report [ "$(cat out)" = merged/index.html ]
ok merge_same_bytes diff -r --exclude times.csv once merged
ok merge_has_times [ "$(wc -l < merged/times.csv)" -eq 13 ]
for i in 1 2 3 4 5; do # parts that end within a prompt's pictures, and within a seed's
    "$dlens" experiment set.csv $long --shard $i/5 -o fifth-$i > out 2> err
done
status merge_fifths 0 "" merge -o fifths fifth-1 fifth-2 fifth-3 fifth-4 fifth-5
ok merge_fifths_same_bytes diff -r --exclude times.csv once fifths
status merge_again 0 "12 of the pictures were there, 0 made" merge -o merged part-1 part-2 part-3
status merged_is_resumed 0 "" experiment set.csv $long -o merged
ok merged_stays diff -r --exclude times.csv once merged

# more shards than pictures: some have none
few="-m $tiny --steps 1 --size 64x64 -l last --seeds 1 -q"
status few_whole 0 "" experiment set.csv $few -o few
for i in 1 2 3 4 5; do "$dlens" experiment set.csv $few --shard $i/5 -o few-$i > out 2> err; done
status merge_empty_shards 0 "" merge -o few-merged few-1 few-2 few-3 few-4 few-5
ok merge_empty_shards_same_bytes diff -r --exclude times.csv few few-merged
status merge_nothing 2 "PART" merge -o none
status merge_nowhere 2 "--output" merge part-1
status merge_missing_part 2 "all shards are needed" merge -o none part-1 part-2
status merge_part_twice 2 "both shard 2" merge -o none part-1 part-2 part-2
status merge_no_shard 2 "no shard" merge -o none part-1 part-2 once
status merge_no_run 2 "manifest.json" merge -o none part-1 part-2 foreign
status merge_into_a_part 2 "one of the parts" merge -o part-1 part-1 part-2 part-3
cp -R part-1 part-copy
status merge_over_a_part 2 "one of the parts" merge --overwrite -o part-1/. part-1 part-2 part-3
status merge_through_nowhere 2 "other settings" merge -o not-there/../part-1 part-1 part-2 part-3
ok part_stays diff -r part-1 part-copy
status shard_of_others 0 "" experiment set.csv -m "$tiny" --steps 2 --size 64x64 -l 0,-1 --seeds 2 -q --shard 2/3 -o odd
status merge_others 2 "steps" merge -o none part-1 odd part-3
cp -R part-2 hurt
rm "$(find hurt -name 'layer-*.png' | head -n 1)"
status merge_missing_picture 1 "1 pictures are missing" merge -o none part-1 hurt part-3
cp -R part-2 bare && rm -r bare/annotations
status merge_without_annotation 1 "not annotated" merge -o none2 part-1 bare part-3
cp -R part-2 broken
head -c 300 part-2/manifest.json > broken/manifest.json
status merge_broken_manifest 2 "broken/manifest.json" merge -o none part-1 broken part-3
sed 's/"height":[[:space:]]*64/"height": 1e99/' part-2/manifest.json > broken/manifest.json
status merge_absurd_manifest 2 "height" merge -o none part-1 broken part-3
printf '{"options":{"seeds":[' > broken/manifest.json
status merge_cut_manifest 2 "broken/manifest.json" merge -o none part-1 broken part-3
ok refused_leaves_nothing [ ! -e none ]

# ---- calls that are wrong
status no_set 2 "prompt set" experiment -m "$tiny"
status two_sets 2 "prompt set" experiment dog colors -m "$tiny"
status unknown_set 2 "built-in" experiment nothing -m "$tiny"
status missing_file 2 "nothing.csv" experiment nothing.csv -m "$tiny"
printf 'class\ndog\n' > noprompt.csv
status no_prompt_column 2 "column" experiment noprompt.csv -m "$tiny"
printf 'prompt\n"a dog\n' > open.csv
status broken_csv 2 "open.csv:2" experiment open.csv -m "$tiny"
printf 'prompt,../x\na dog,dog\n' > path.csv
status header_is_no_path 2 "../x" experiment path.csv $fast
for shard in 0/2 3/2 x 1/ /2 1/0 -1/2 1/2/3 ""; do
    status "shard_$shard" 2 "--shard" experiment dog -m "$tiny" --shard "$shard"
done
status unknown_question 2 "there are class" experiment dog $fast -o bad --questions color
status missing_judge 3 "nowhere" experiment dog $fast -o bad --judge nowhere/judge
status prompts_option 2 "does not take" experiment dog --prompts set.csv
ok nothing_was_written [ ! -e bad ]
