#!/bin/sh
# The reports of a lens and of an experiment: files, the same bytes when made anew, hostile prompts, bounded
# size; where there is a Chromium, every control of the page, and what people annotate there.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
tiny=$root/tests/data/tiny-sd1
export DLENS_WEIGHTS=$root/weights
cat > set.csv << 'END'
prompt,class,frequency
a dog,dog,0.5
"a cat, </script><script>window.hostile = 1</script> ""&amp;""",cat,0.25
a dogs' owl,owl,0.125
END
status experiment 0 "" experiment set.csv -m "$tiny" --steps 1 --size 64x64 -l all --seeds 2 -q -j 1 -o run --controls shuffled
ok prints_the_report [ "$(cat out)" = run/index.html ]
for file in scores class-score class-emergence class-heat match-heat; do
    ok "plot_$file" [ -s run/plots/$file.svg -a -s run/plots/$file.csv ]
done
ok csv_of_scores [ "$(head -n 1 run/plots/class-score.csv)" = question,layer,relative_layer,n,mean,ci95_low,ci95_high,run ]
ok csv_has_all_layers_of_both [ "$(wc -l < run/plots/class-score.csv)" -eq 11 ]
ok emergence_counts_all_rows [ "$(tail -n +2 run/plots/class-emergence.csv | cut -d, -f2 | paste -sd+ - | bc)" -eq 6 ]
ok signatures [ "$(head -n 1 run/signatures.csv)" = prompt,seed,layer,question,signature ]
ok prompts_are_escaped sh -c '! grep -q "<script>window.hostile" run/index.html run/plots/*.svg'
ok connects_to_nothing sh -c '! grep -o "src=\"[^\"]*" run/index.html | grep -v "src=\"data:"'
ok bounded [ "$(wc -c < run/index.html)" -lt 20000000 ]

# ---- of a plain lens, which still goes on afterwards
lens="lens dog -m $tiny --steps 1 --size 64x64 -l 0,-1 -q -j 1 -o plain"
status plain_lens 0 "" $lens
cp plain/index.html lens.html
status plain_report 0 "" analyse plain
ok plain_report_differs sh -c '! cmp -s lens.html plain/index.html && [ -s plain/distances.csv ]'
status plain_goes_on 0 "" $lens
ok plain_lens_report_again cmp -s lens.html plain/index.html
status plain_overwritten 0 "" $lens --steps 2 --overwrite
ok plain_report_is_removed [ ! -e plain/distances.csv -a ! -e plain/signatures.csv ]

# ---- made anew
cp -R run again
rm -r again/index.html again/plots again/signatures.csv
status anew 0 "" analyse again
ok anew_prints_the_path [ "$(cat out)" = again/index.html ]
ok anew_same_bytes diff -r run again
: > again/plots/old-score.svg
status anew_sweeps 0 "" analyse again/
ok old_plots_are_gone [ ! -e again/plots/old-score.svg ]
status folder_json 0 "" analyse run --json
ok folder_json_is_summaries grep -q '"emergence"' out
ok folder_json_names_its_files grep -q '"file":"run/annotations/class.csv"' out
mkdir empty
status no_run 2 "no manifest.json" analyse empty
printf '{' > again/experiment.json
status broken_facts 2 "experiment.json" analyse again
cp run/experiment.json again/
printf 'prompt,0,4\n"a dog' > again/annotations/class.csv
status broken_table 2 "class.csv" analyse again
rm again/annotations/class.csv
status without_a_table 0 "" analyse again
ok unanswered_question_is_left_out [ ! -e again/plots/class-score.csv -a -s again/plots/match-score.csv ]

# ---- in a browser
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
if [ -z "$browser" ]; then
    echo "skip report_in_a_browser (no Chromium)"
    exit 0
fi

# The page with a driver script behind it; what that reports goes to standard output.
drive() { # folder, driver
    {
        sed 's,</body>.*,,' "$1/index.html"
        echo "<script>"
        cat "$root/tests/$2"
        echo "</script></body></html>"
    } > "$1/driven.html"
    HOME=$work timeout 120 "$browser" --headless --no-sandbox --disable-gpu \
        --disable-background-networking --disable-component-update --disable-sync --no-first-run \
        --user-data-dir="$work/profile" --virtual-time-budget=20000 \
        --dump-dom "file://$work/$1/driven.html" > dom 2> err
    sed -n '/@begin/,/@csv/p' dom | grep '^ok \|^not ok '
    ok "$2_came_to_its_end" grep -q '@end' dom
}

status lens 0 "" lens "a dog" "a cat" -m "$tiny" --steps 1 --size 64x64 -l 0,2,4 --seeds 2 -q -o lens --skip-each
drive lens lens_driver.js
drive run report_driver.js
sed -n '/@csv/,/@end/p' dom | sed '1d;/@end/d;s/&lt;/</g;s/&gt;/>/g;s/&amp;/\&/g' > human.csv
ok export_header [ "$(head -n 1 human.csv)" = prompt,0,1,2,3,4,seed,annotator ]
status agreement 0 "" analyse human.csv run/annotations/class.csv --agree --json
ok agreement_matches_all_rows grep -q '"matched":6' out
