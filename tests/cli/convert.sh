#!/bin/sh
# dlens convert: a model of int8 makes, in every way to run it, the latents of the same weights
# written as f32. Prints `ok NAME` or `not ok NAME`.
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/harness
data=$root/tests/data
cascade=$data/if-cascade/IF-I-T-v1.0

# The latents of one picture, of a model and into a file; further options behind.
latents() {
    of=$1
    file=$2
    shift 2
    "$dlens" generate "a red dog" -m "$of" --steps 2 -q -o picture.png --latents "$file" "$@" > out 2> err
}
same() { # name, one model, another, options...
    case=$1
    a=$2
    b=$3
    shift 3
    rm -f a.st b.st
    latents "$a" a.st "$@"
    latents "$b" b.st "$@"
    ok "$case" cmp a.st b.st
}

isas=
for isa in ref avx2 avx512 neon; do
    DLENS_ISA=$isa "$dlens" --version > /dev/null 2>&1 && isas="$isas $isa"
done

for m in tiny-sd1 tiny-sd2 if-cascade/IF-I-T-v1.0; do
    short=$(basename "$m")
    status "int8_of_$short" 0 "" convert -m "$data/$m" -o "int8/$short" --to int8
    ok "prints_the_path_of_$short" [ "$(tail -n 1 out)" = "int8/$short" ]
    status "f32_of_$short" 0 "" convert -m "int8/$short" -o "f32/$short" --to f32 --json
    ok "exact_from_int8_$short" sh -c '! grep -q "largest_error\":[^0]" out'
    status "inspects_$short" 0 "" inspect "int8/$short" --json --tensors
    ok "is_int8_$short" grep -q '"dtype":"I8"' out
    one=
    case $m in if-*) one="--stages 1" ;; esac
    for isa in $isas; do
        export DLENS_ISA=$isa
        # shellcheck disable=SC2086
        same "same_latents_${short}_$isa" "int8/$short" "f32/$short" $one
        unset DLENS_ISA
    done
done
unet=tiny-sd1/unet/diffusion_pytorch_model.safetensors
ok files_are_smaller [ "$(wc -c < int8/$unet)" -lt $(($(wc -c < f32/$unet) / 2)) ]

# ---- precision, threads, memory, the random encoder
for isa in $isas; do
    export DLENS_ISA=$isa
    same "same_latents_fast_$isa" int8/tiny-sd1 f32/tiny-sd1 --precision fast
    unset DLENS_ISA
done
latents int8/tiny-sd1 one.st -j 1
latents int8/tiny-sd1 three.st -j 3
ok same_latents_of_threads cmp one.st three.st
latents int8/tiny-sd1 none.st --max-memory 1M
needed=$(sed -n 's/.*needs at least \([0-9]*\) MB.*/\1/p' err)
latents int8/tiny-sd1 little.st --max-memory "${needed}M" || latents int8/tiny-sd1 little.st --max-memory "$((needed + 1))M"
ok same_latents_of_little_memory cmp one.st little.st
"$dlens" encode "a dog" -m int8/tiny-sd1 --control random -q -o a.st > out
"$dlens" encode "a dog" -m f32/tiny-sd1 --control random -q -o b.st > out
ok same_random_encoder cmp a.st b.st

# ---- parts, variants, shards
status parts 0 "" convert -m "$data/tiny-sd1" -o parts --to int8 --parts unet,text_encoder --json
ok other_parts_are_kept sh -c 'grep -q "\"name\":\"vae\",\"from\":\"F32\",\"to\":\"F32\",\"tensors\":[0-9]*,\"changed\":0," out'
ok parts_are_converted sh -c 'grep -q "\"name\":\"unet\",\"from\":\"F32\",\"to\":\"I8\"" out'
status parts_run 0 "" generate "a dog" -m parts --steps 1 -q -o picture.png
status f16_to_f32 0 "" convert -m "$data/tiny-sd2" -o sd2 --to f32
ok shards_become_one_file [ "$(find sd2 -name '*.safetensors' | wc -l)" -eq 3 ]
ok no_index_is_left sh -c '! find sd2 -name "*.index*" | grep -q .'
same same_latents_of_f16_shards "$data/tiny-sd2" sd2
ok small_files_are_copied cmp "$data/tiny-sd2/tokenizer/tokenizer.json" sd2/tokenizer/tokenizer.json

# ---- the judge of a model
status judge 0 "" convert -m emoji-clip -o emoji --to int8
"$dlens" convert -m emoji -o emoji32 --to f32 > /dev/null
"$dlens" generate "a dog" -m emoji --steps 2 -q -o dog.png > /dev/null
"$dlens" score dog.png --judge emoji/judge --text "a dog" "a cat" --json > a.json
"$dlens" score dog.png --judge emoji32/judge --text "a dog" "a cat" --json > b.json
ok same_scores sh -c 'sed s/emoji32/emoji/ b.json | cmp - a.json && grep -q similarity a.json'

# ---- calls
status single_file 3 "is a single file" convert -m "$data/tiny-sd1/unet/diffusion_pytorch_model.safetensors" -o new --to f16
status no_dtype 2 "--to" convert -m "$data/tiny-sd1" -o new
status no_output 2 "--output" convert -m "$data/tiny-sd1" --to f16
status unknown_dtype 2 "must be f32, f16, bf16 or int8" convert -m "$data/tiny-sd1" -o new --to q4
status no_such_part 2 "it has text_encoder, unet, vae" convert -m "$data/tiny-sd1" -o new --to f16 --parts tokenizer
status no_such_model 3 "no such model" convert -m nothing -o new --to f16
status into_itself 2 "the model itself" convert -m sd2 -o sd2/ --to f16
status not_empty 2 "--overwrite" convert -m "$data/tiny-sd1" -o sd2 --to f16
status overwrites 0 "" convert -m "$data/tiny-sd1" -o sd2 --to f16 --overwrite --progress on
ok progress_is_told grep -q "convert .*step" err
ok nothing_else_is_left sh -c '! ls -d *.converting *.replaced new 2> /dev/null | grep -q .'

# ---- ended hard: complete or absent, and the next one works
mkdir source
ln -s "$root/weights/emoji-clip"/* source
for wait in 0.004 0.02 0.1; do
    "$dlens" convert -m source -o killed --to int8 > /dev/null 2>&1 &
    sleep $wait
    kill -9 $! 2> /dev/null
    wait $! 2> /dev/null
    if [ -e killed ]; then
        ok "complete_after_$wait" cmp killed/unet/diffusion_pytorch_model.safetensors emoji/unet/diffusion_pytorch_model.safetensors
        rm -rf killed
    fi
done 2> /dev/null
status after_being_killed 0 "" convert -m source -o killed --to int8
ok what_is_made_then sh -c "diff -r killed $work/emoji"
ok nothing_of_the_killed_is_left sh -c '! ls -d killed.* 2> /dev/null | grep -q .'

# ---- what is missing, beside, or in the way
cp -R "$data/tiny-sd1" part && rm part/vae/*.safetensors
status missing_component 3 "part/vae" convert -m part -o whole --to f16
cp -R "$data/tiny-sd1" more && mkdir more/adapter && cp more/vae/*.safetensors more/adapter/lora.safetensors
status other_weights_are_told 0 "lora.safetensors" convert -m more -o fewer --to f16

ln -s fewer link
status over_a_link 0 "" convert -m "$data/tiny-sd1" -o link --to f16 --overwrite
ok link_stays [ -h link -a -s fewer/model_index.json -a ! -e fewer.replaced -a ! -e link.replaced ]
cp -R "$data/tiny-sd1" origin
status onto_itself_through_a_new_folder 2 "--output" convert -m origin -o nowhere/../origin --to f16
ok source_stays diff -r "$data/tiny-sd1" origin
ok no_leftover [ ! -e origin.converting ]
