#!/bin/sh
# dlens analyse: results, exit statuses and messages. Prints `ok NAME` or `not ok NAME`.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
paper=$root/../shared/paper-data

# ---- one file
cat > scores.csv << 'END'
prompt,0,4,8,seed
a dog,0,5,10,0
a dog,1,Error,9,1.0
"a cat, sitting",0,0,10,0
"a cat, sitting",7,0,8.0,1.0
a bird,0,0,0,0
a bird,9,"1,0",,1
END
status scores 0 "" analyse scores.csv --scale 10
ok scores_are_told grep -q "3 prompts, 6 rows, scores 0 to 10; 3 of 18 cells are no number" out
ok scores_emerge grep -q "emergence of 4 rows: 1 never, 1 unstable; median layer 8" out
status scores_json 0 "" analyse scores.csv --scale 10 --json
ok json_form grep -Eq '^\[\{"file":"scores.csv","prompts":3,"rows":6,"missing":3,"layers":\[\{"layer":0,"n":6,"mean":0.28[0-9]*,"ci95":\[[0-9.]+,[0-9.]+\]\},.*\],"emergence":\{"n":4,"never":1,"unstable":1,"median_layer":8,"by_layer":\{"0":0,"4":1,"8":2\}\}\}\]$' out
cp out first
status scores_again 0 "" analyse scores.csv --scale 10 --json
ok same_seed_same_bytes cmp out first
awk 'BEGIN { print "prompt,0"; for (i = 1; i < 60; i++) print "p" i "," (i * i * 7.3) % 1 }' > many.csv
status seed_0 0 "" analyse many.csv --json
cp out zero
status seed_1 0 "" analyse many.csv --json --seed 1
ok other_seed_other_interval sh -c '! cmp -s out zero'
"$dlens" analyse scores.csv --scale 10 --json -j 1 > one 2> err
ok threads_do_not_matter cmp one first
status wrong_scale_is_told 0 "scores are not from 0 to 1; --scale 10" analyse scores.csv
status two_files 0 "" analyse scores.csv scores.csv --json --scale 10
ok two_files_two_objects [ "$(grep -o '"file":' out | wc -l)" -eq 2 ]
printf '\357\273\277prompt,4\r\na,1\r\n' > bom.csv
status byte_order_mark_and_crlf 0 "" analyse bom.csv
printf 'prompt,0,4\n' > norows.csv
status no_rows 0 "" analyse norows.csv --json
ok no_rows_is_null grep -q '"n":0,"mean":null,"ci95":\[null,null\]' out

# ---- agreement
cat > people.csv << 'END'
prompt,seed,0,4,8
a dog,0,0,1,1
a dog,1,0,1,1
"a cat, sitting",1,1,0,1
"a cat, sitting",0,1,0,1
a fish,0,1,1,1
END
status agree 0 "" analyse people.csv scores.csv --agree --scale 1,10
ok agree_counts grep -q "4 rows of the same prompt and seed; 1 and 2 have no counterpart" out
ok agree_kappa grep -Eq '^      0       4    0.750 .*  0.500 ' out
status agree_json 0 "" analyse people.csv scores.csv people.csv --agree --scale 1,10,1 --json
ok agree_three_pairs [ "$(grep -o '"matched":' out | wc -l)" -eq 3 ]
ok agree_is_json grep -q '^\[{"a":"people.csv".*}}\]$' out
status agree_one 2 "wanted: two" analyse people.csv --agree
printf 'prompt,12\na dog,1\n' > deep.csv
status agree_other_layers 2 "no layer in common" analyse people.csv deep.csv --agree

# ---- comparisons
cat > first.csv << 'END'
prompt,seed,0,4,8,noun_0,noun_1,head
a cat on a mat,0,0,1,1,cat,mat,cat
a cat on a mat,1,1,1,1,cat,mat,cat
a dog with a hat,0,0,1,1,dog,hat,dog
a cup by a jar,0,0,0,0,cup,jar,jar
END
cat > second.csv << 'END'
seed,prompt,0,4,8
0,a cat on a mat,0,0,1
1,a cat on a mat,0,0,1
0,a dog with a hat,0,0,1
0,a cup by a jar,0,1,1
END
printf 'prompt,is_natural,avg_daily_views\na cat on a mat,1,100\na dog with a hat,0,50\na cup by a jar,0,3\n' > set.csv
status order 0 "" analyse --compare order first.csv second.csv
ok order_linear grep -q "the first noun comes first *2 of 3 " out
ok order_head grep -q "the head comes first *3 of 3 " out
status order_json 0 "" analyse --compare order first.csv second.csv first.csv second.csv --json
ok order_pairs grep -q '"pairs":\[{"a":0,"b":1,"shared":3,"only_a":0,"only_b":0,"p":null' out
status order_odd 2 "for each question" analyse --compare order first.csv
status binding 0 "" analyse --compare binding first.csv second.csv
ok binding_is_paired grep -q "never there: 1 of 4 rows of a, 0 of 4 of b; Wilcoxon" out
status coarse 0 "" analyse --compare coarse first.csv second.csv --json
ok coarse_difference grep -q '"rows":"emerged","paired":true,"prompts":\[2,2\]' out
status complexity 0 "" analyse --compare complexity first.csv second.csv
status natural 0 "" analyse --compare natural second.csv set.csv
ok natural_groups grep -q "a: natural" out
status common 0 "" analyse --compare common first.csv second.csv set.csv --json
ok common_correlates grep -q '"correlations":\[{"property":"avg_daily_views"' out
status natural_without_set 2 "none of its prompts has a number \`is_natural\`" analyse --compare natural second.csv
status other_encoder 2 "one encoder" analyse --compare complexity first.csv deep.csv
status unknown_comparison 2 "must be complexity" analyse --compare speed first.csv
status compare_and_agree 2 "not together" analyse --compare coarse --agree first.csv second.csv

# ---- calls and files that are wrong
status help 0 "" analyse --help
ok help_has_an_example grep -q "dlens analyse annotations/\*.csv --scale 10" out
status no_file 2 "none is given" analyse
status missing_file 2 "nowhere.csv" analyse nowhere.csv
status folder 2 "" analyse .
status prompt_set_alone 2 "has no layers" analyse set.csv
printf 'text,0\na,1\n' > noprompt.csv
status no_prompt_column 2 "no column \`prompt\`" analyse noprompt.csv
printf 'prompt,4,04\na,1,1\n' > twice.csv
status layer_twice 2 "two columns of layer 4" analyse twice.csv
printf 'prompt,0\n"a,1\n' > open.csv
status open_quote 2 "open.csv:2: a quoted field is never closed" analyse open.csv
status second_file_is_broken 2 "open.csv" analyse scores.csv open.csv --json
ok no_half_json [ ! -s out ]
head -c 3000 /dev/urandom > random.csv
status random_bytes 2 "random.csv" analyse random.csv
for scale in 0 -1 x "" 1, 1,2,3 nan 1e999; do
    status "scale_$scale" 2 "--scale" analyse scores.csv people.csv --scale "$scale"
    ok "scale_${scale}_no_result" [ ! -s out ]
done
mkdir folder
status folder_among_files 2 "is a folder" analyse scores.csv folder
status model_is_not_taken 2 "does not take" analyse scores.csv --model x
status two_seeds 2 "--seed" analyse scores.csv --seed 1,2
status bad_seed 2 "seed" analyse scores.csv --seed x
if [ -e /dev/full ]; then
    "$dlens" analyse scores.csv > /dev/full 2> err
    ok full_standard_output [ $? -eq 1 -a -s err ]
fi

# ---- the paper's published annotations
if [ -d "$paper" ]; then
    status published_files 0 "" analyse "$paper"/annotations-gpt/*.csv --scale 10 --json
    ok all_58_files [ "$(grep -o '"file":' out | wc -l)" -eq 58 ]
    ok no_warnings [ ! -s err ]
    ok dirty_cells_are_counted grep -q 'classes_IsCorrect_df.csv","prompts":80,"rows":320,"missing":69,' out
else
    echo "skip published_files: $paper is not there"
fi
