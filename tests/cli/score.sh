#!/bin/sh
# dlens score: results, exit statuses and messages. Prints `ok NAME` or `not ok NAME`.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
judge=$root/tests/data/clip-vision/old
cp "$root"/tests/data/clip-vision/pictures/large.png "$root"/tests/data/clip-vision/pictures/alpha.png .

# ---- help
status help_of_score 0 "" score --help
ok example_of_score grep -q "example:" out
ok help_of_score_fits_80_columns sh -c '! grep -Eq ".{81}| $" out'

# ---- results: the reference's numbers are in tests/data; test_vision compares all of them
status table 0 "" score large.png alpha.png --text "a dog" "a cat" nothing --judge "$judge"
ok table_names_the_pictures [ "$(grep -c 'png$' out)" -eq 2 ]
ok table_has_a_line_for_each_text [ "$(grep -c '%  a cat$' out)" -eq 2 ]
ok probabilities_sum_to_100 awk '/%/ { sum += $2 } /nothing/ { if (sum < 99.97 || sum > 100.03) bad = 1; sum = 0 } END { exit bad }' out
cp out first
status again_with_threads 0 "" score large.png alpha.png --judge="$judge" -j 2 --text "a dog" --text "a cat" --text=nothing
ok again_is_the_same cmp out first
status texts_end_at_an_option 0 "" score --text "a dog" "a cat" nothing --judge "$judge" large.png alpha.png
ok any_order_is_the_same cmp out first
status texts_end_at_dashes 0 "" score --judge "$judge" --text "a dog" "a cat" nothing -- large.png alpha.png
ok dashes_are_the_same cmp out first
status one_text 0 "" score large.png --text "a dog" --judge "$judge"
ok one_text_has_no_probability sh -c '! grep -q % out'
status text_with_a_dash 0 "" score large.png --text=-x --judge "$judge"
ok text_with_a_dash_is_one grep -q ' -x$' out
status empty_text 0 "" score large.png --text "" "a dog" --judge "$judge"
status json 0 "" score large.png --text "a dog" "a cat" --judge "$judge" --json
ok json_is_one_object grep -Eq '^\{"judge":".*/old","scale":9\.9.*,"images":\[\{"file":"large.png","scores":\[\{"text":"a dog","similarity":.*\}\]\}\]\}$' out
status default_judge 0 "" score large.png --text "a dog" "a cat"
cp out first
status judge_by_name 0 "" score large.png --text "a dog" "a cat" --judge emoji-clip
ok name_is_the_default cmp out first
status long_text_is_cut 0 "cut to 16 tokens" score large.png --judge "$judge" --text "$(printf 'word %.0s' $(seq 30))"

# ---- what cannot be
status without_pictures 2 "IMAGE: none" score --text "a dog"
status without_texts 2 "--text: none" score large.png
status text_without_value 2 "its value TEXT... is missing" score large.png --text
status no_such_picture 2 "nothing.png" score nothing.png --text "a dog" --judge "$judge"
head -c 700 large.png > cut.png
status cut_picture 2 "cut.png: no readable PNG" score cut.png --text "a dog" --judge "$judge"
printf '\377\330\377\340 and so on' > photo.jpg
status other_format 2 "photo.jpg: is a JPEG file" score photo.jpg --text "a dog" --judge "$judge"
status second_picture_fails 2 "photo.jpg" score large.png photo.jpg --text "a dog" --judge "$judge" --json
ok no_half_of_json [ ! -s out ]
status text_is_no_utf8 2 "UTF-8" score large.png --text "$(printf 'a\377')" --judge "$judge"
status no_such_judge 3 "no such folder" score large.png --text "a dog" --judge nowhere
status judge_is_a_file 3 "no such folder" score large.png --text "a dog" --judge ./large.png
status judge_is_a_pipeline 3 "config.json" score large.png --text "a dog" --judge "$root/tests/data/tiny-sd1"
status judge_is_a_text_encoder 3 "model_type" score large.png --text "a dog" --judge "$root/tests/data/tiny-sd1/text_encoder"
status unknown_option 2 "unknown option" score large.png --texts "a dog"
status option_of_other_commands 2 "does not take it" score large.png --text "a dog" --steps 3
