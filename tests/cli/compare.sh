#!/bin/sh
# dlens compare: two runs side by side; what is refused.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
tiny=$root/tests/data/tiny-sd1
export DLENS_WEIGHTS=$root/weights
fast="-m $tiny --steps 1 --size 64x64 -l 0,-1 -q -j 1"
cat > set.csv << 'END'
prompt,class
a dog,dog
a cat,cat
an owl,owl
END
status first 0 "" experiment set.csv $fast --seeds 1 -o a
status lens 0 "" lens "a dog" "a cat" $fast --norm none -o b
status help 0 "" compare --help
ok help_fits sh -c '! grep -Eq ".{81}| $" out'

# ---- an experiment and a lens: pictures alone
status pictures 0 "" compare a b
ok default_folder [ "$(tail -n 1 out)" = compare-out/a-b/index.html -a -s compare-out/a-b/index.html ]
ok prompts_in_both grep -q "^2 prompts in both" out
ok no_question_in_both sh -c '! grep -q emergence out'
status pictures_json 0 "" compare a b --json -o pair.html
ok pairs_of_pictures grep -q '"layer_a":4,"layer_b":4,"n":2,' out
ok a_file_by_itself [ -s pair.html -a ! -e pair.html/plots ]
ok layers_differ_where_the_norm_does grep -q '"identical":0' out

# ---- two experiments whose answers are known
cp -R a c
for run in a c; do
    case $run in a) dog=1,1 cat=0,1 owl=0,0 ;; c) dog=0,1 cat=0,0 owl=0,0 ;; esac
    printf 'prompt,0,4,seed\na dog,%s,0\na cat,%s,0\nan owl,%s,0\n' $dog $cat $owl > $run/annotations/class.csv
done
status experiments 0 "" compare a c -o both --json
ok difference grep -q '"layer":0,"relative":0,"n":3,"a":0.333333333333333[0-9]*,"b":0,"difference":-0.333333333333333[0-9]*,' out
ok later grep -q '"rows":"emerged","n":1,"a":0,"b":1,"difference":1,' out
ok same_pictures grep -q '"n":3,"identical":3,"psnr":null' out
ok plots [ -s both/plots/class-both.svg -a -s both/plots/class-difference.csv ]
ok csv_of_differences grep -q '^4,1,3,0.6666666666666[0-9]*,0.3333333333333[0-9]*,-0.333' both/plots/class-difference.csv
status again 0 "" compare a c -o both --json
cp out first
status other_resampling 0 "" compare a c -o both --json -s 5
ok same_but_for_intervals sh -c '[ "$(sed "s/\"ci95\":[^]]*]//g" out)" = "$(sed "s/\"ci95\":[^]]*]//g" first)" ]'

# ---- refused
status one_folder 2 "1 folder is given" compare a
status missing 2 "no manifest.json" compare a nowhere
status into_a_run 2 "holds a run" compare a b -o a
status nothing_in_common 0 "" lens "a fish" $fast -o d
status no_prompt_in_common 2 "no prompt in common" compare a d
status shard 0 "" experiment set.csv $fast --seeds 1 --shard 1/2 -o part
status a_shard 2 "shard 1 of 2" compare a part
status two_seeds 2 "one is wanted" compare a b -s 1,2
cp -R c twice
sed 's/"questions":[[:space:]]*\[/&{"name":"class","wording":"","asked":3,"chance":0.5},/' c/experiment.json > twice/experiment.json
status question_twice 2 "names the question class twice" compare a twice
cp -R c far
printf 'prompt,0,999999999,seed\na dog,1,1,0\n' > far/annotations/class.csv
status layer_far_away 0 "" compare a far -o far-away
