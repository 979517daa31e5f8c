#!/bin/sh
# dlens experiment --controls: controls as experiments beside the lens, resumed, in shards and
# merged; what the report shows of them, and what it leaves out.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
tiny=$root/tests/data/tiny-sd1
export DLENS_WEIGHTS=$root/weights
cat > set.csv << END
prompt,class
a dog,dog
a red cat,cat
END
fast="-m $tiny --steps 1 --size 64x64 -l 0,-1 -s 3 -q -j 1"
both="--controls norm-none,shuffled"

status plain 0 "" experiment set.csv $fast -o run
status with_controls 0 "" experiment set.csv $fast -o run $both
ok prints_the_report [ "$(cat out)" = run/index.html ]
for control in norm-none shuffled; do
    folder=run/controls/$control
    ok "${control}_is_an_experiment" [ -s $folder/index.html -a -s $folder/signatures.csv -a -s $folder/times.csv ]
    ok "${control}_same_set" cmp run/prompts.csv $folder/prompts.csv
    ok "${control}_same_questions_and_judge" cmp run/experiment.json $folder/experiment.json
    ok "${control}_is_annotated" [ -s $folder/annotations/class.csv -a -s $folder/annotations/reliability.json ]
    ok "${control}_in_the_plot" [ "$(grep -c ",$control\$" run/plots/class-score.csv)" -eq 2 ]
    ok "${control}_in_distances" [ "$(grep -c "^$control,[04],[01],2,.*,2,0\\.[0-9]*,\|^$control,[04],[01],2,.*,2,1\\.[0-9]*," run/distances.csv)" -eq 2 ]
done
ok lens_in_the_plot [ "$(grep -c ',lens$' run/plots/class-score.csv)" -eq 2 ]
ok page_shows_them sh -c 'grep -q "Controls beside the lens" run/index.html && grep -q "href=\"controls/norm-none/index.html\"" run/index.html'
ok own_report_says_what_it_is grep -q '<td>shuffled</td>' run/controls/shuffled/index.html
ok other_is_not_there [ ! -e run/controls/random ]
status single_run 0 "" experiment set.csv $fast -o single --control shuffled --judge none
ok control_is_that_run cmp single/0-a-dog/seed-3/layer-04.png run/controls/shuffled/0-a-dog/seed-3/layer-04.png
status nothing_twice 0 "12 of the pictures were there, 0 made" experiment set.csv -m "$tiny" --steps 1 --size 64x64 -l 0,-1 -s 3 -o run $both
cp -R run kept
status without_them 0 "" experiment set.csv $fast -o kept
ok they_stay_in_the_report grep -q "Controls beside the lens" kept/index.html
status anew 0 "" analyse kept
sed -n '/<body/,$p' run/index.html > a
sed -n '/<body/,$p' kept/index.html > b
ok anew_same_bytes cmp a b

# ---- killed in the middle of a control: the same bytes, nothing made twice
long="-m $tiny --steps 16 --size 64x64 -l 0,-1 -s 3,4 -q -j 1 $both"
"$dlens" experiment set.csv $long -o once > out 2> err
"$dlens" experiment set.csv $long -o killed > out 2> err &
pid=$!
waited=0
while [ "$(find killed/controls -name 'layer-*.png' 2> /dev/null | wc -l)" -lt 2 ] && [ $waited -lt 600 ]; do
    sleep 0.1
    waited=$((waited + 1))
done
kill -KILL $pid
wait $pid 2> /dev/null
ok killed_in_a_control sh -c '[ -s killed/index.html ] && [ ! -e killed/controls/norm-none/index.html ]'
find killed -name '*.png' -path '*seed*' -exec ls -i {} + | sort > before
status killed_is_resumed 0 "" experiment set.csv $long -o killed
ok killed_same_bytes diff -r --exclude times.csv once killed
find killed -name '*.png' -path '*seed*' -exec ls -i {} + | sort > after
ok killed_made_nothing_twice [ -z "$(comm -23 before after)" ]

# ---- shards
for i in 1 2 3; do
    status "shard_$i" 0 "" experiment set.csv $long --shard $i/3 -o part-$i
done
ok shard_has_its_part [ "$(find part-1/controls -name 'layer-*.png' | wc -l)" -eq 6 ]
ok shard_has_no_report sh -c '! find part-1 -name index.html | grep -q .'
status merge 0 "" merge -o merged part-2 part-3 part-1
ok merge_same_bytes diff -r --exclude times.csv once merged
status merge_again 0 "24 of the pictures were there, 0 made" merge -o merged part-1 part-2 part-3
cp -R part-2 less && rm -r less/controls/shuffled
status merge_without_a_control 1 "less: lacks the control shuffled" merge -o none part-1 less part-3
cp -R part-2 hurt && rm "$(find hurt/controls/norm-none -name 'layer-*.png' | head -n 1)"
status merge_missing_picture 1 "hurt/controls/norm-none: 1 pictures are missing" merge -o none part-1 hurt part-3
cp -R part-2 broken && printf '{"schema"' > broken/controls/norm-none/manifest.json
status merge_broken_control 2 "broken/controls/norm-none/manifest.json" merge -o none part-1 broken part-3
for i in 1 2 3; do
    cp -R part-$i odd-$i
    rm -r odd-$i/controls/norm-none
    mv odd-$i/controls/shuffled odd-$i/controls/norm-none
done
status merge_of_another_control 2 "odd-1/controls/norm-none: is no control of odd-1" merge -o none odd-1 odd-2 odd-3
ok refused_leaves_nothing [ ! -e none ]

# ---- what is damaged, or no control of this run, is left out of the report
printf 'prompt,0,4\n"a dog' > kept/controls/shuffled/annotations/class.csv
status damaged_table 0 "the report leaves shuffled out" analyse kept
ok damaged_is_left_out sh -c '! grep -q "^shuffled," kept/distances.csv && grep -q "^norm-none," kept/distances.csv'
head -c 200 run/controls/norm-none/manifest.json > kept/controls/norm-none/manifest.json
status damaged_manifest 0 "the report leaves norm-none out" analyse kept
ok none_is_left sh -c '! grep -q "Controls beside the lens" kept/index.html'
rm -r kept/controls/norm-none && cp -R run/controls/shuffled kept/controls/norm-none
status another_in_its_place 0 "kept/controls/norm-none: is no control of kept" analyse kept
: > run/controls/norm-none/0-a-dog/seed-3/layer-00.png
status damaged_picture 0 "" analyse run
ok damaged_picture_is_not_counted grep -q '^norm-none,0,0,1,' run/distances.csv
status damaged_picture_is_made_again 0 "11 of the pictures were there, 1 made" experiment set.csv -m "$tiny" --steps 1 --size 64x64 -l 0,-1 -s 3 -o run $both

# ---- calls that are wrong
status unknown_control 2 "norm-match" experiment set.csv $fast -o bad --controls noise
status control_of_a_control 2 "--control" experiment set.csv $fast -o bad --control padding --controls shuffled
ok nothing_was_written [ ! -e bad ]
