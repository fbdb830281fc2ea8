#!/bin/sh
# One night: build, train, publish, promote, score. Killed at any moment and started again, it goes on where it was.
#
#     sh examples/nightly.sh CONFIG EVENTS NAME 2026-11-25
#
# Exit codes: 0 done, whether the night's model was promoted or not; 2 bad input, nothing was changed and the champion
# still serves; anything else: look at what was printed, then start it again. NAME is registry.name of the config.
set -eu
config=$1 events=$2 name=$3 night=$4

recsys run --config "$config" --set data.events="$events" --out "runs/$night"

recsys promote "$name" || { code=$?; [ $code -eq 3 ] || exit $code; }  # 3: refused, and the champion stays

recsys score --bundle "models:/$name@champion" --events "$events" --out "recs/$night"
