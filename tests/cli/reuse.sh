#!/bin/sh
# --reuse N on the command line: recorded, other settings, refused; all stages of a cascade take it.
# Prints `ok NAME` or `not ok NAME`.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
small="-m $root/tests/data/tiny-sd1 --size 32x32 --steps 4 -l 0,4 -q"
cascade="-m $root/tests/data/if-cascade/IF-I-T-v1.0 --steps 3 -l last -q"

status every_step 0 "" lens "a dog" $small -o whole
status every_second 0 "" lens "a dog" $small --reuse 2 -o second
ok manifest_says_it grep -q '"reuse":[[:space:]]*2' second/manifest.json
ok report_says_it grep -q 'every 2' second/index.html
ok picture_says_it grep -aq 'reuse' second/0-a-dog/seed-0/layer-04.png
ok others_do_not_say_it sh -c '! grep -q "\"reuse\"" whole/manifest.json && ! grep -aq reuse whole/0-a-dog/seed-0/layer-04.png'
ok pictures_are_others sh -c '! cmp -s whole/0-a-dog/seed-0/layer-04.png second/0-a-dog/seed-0/layer-04.png'
status resumed 0 "" lens "a dog" $small --reuse 2 -o second
status other_settings 2 "other settings" lens "a dog" $small --reuse 3 -o second
status one_is_every_step 0 "" lens "a dog" $small --reuse 1 -o whole
for n in 0 -1 1001 x; do
    status "refuses_$n" 2 "--reuse" lens "a dog" $small --reuse $n -o refused
done
status cascade 0 "" lens "a dog" $cascade --reuse 2 -o cascade
ok cascade_says_it grep -q '"reuse":[[:space:]]*2' cascade/manifest.json
