#!/bin/sh
# One night, for cron: train on the log up to today, let the gate decide what serves, score every user.
#
#     sh examples/nightly.sh CONFIG EVENTS NAME 2026-11-25
#
# Writes runs/NIGHT, recs/NIGHT, nights/NIGHT.json (what happened) and the link recs/latest into the working directory,
# and keeps seven nights. NAME is registry.name of the config. Killed at any moment and started again, it goes on.
#
# Exit codes: 0 tonight's model serves; 3 it was refused, the champion still serves; 4 no model has passed the gate yet,
# a baseline serves as last resort. With each of these every user was scored and recs/latest is tonight's. 2 bad input
# (one line says what), another night is still running, or nothing may serve: recs/latest is still the last good night.
# Anything else is a bug or a kill: look at what was printed, then start it again.
set -eu
if [ $# -ne 4 ]; then
    echo "error: $# arguments; expected CONFIG EVENTS NAME NIGHT, as in: sh $0 my.toml events.parquet shop 2026-11-25" >&2
    exit 2
fi
config=$1 events=$2 name=$3 night=$4

exec recsys nightly --config "$config" --set registry.name="\"$name\"" --events "$events" --night "$night"
