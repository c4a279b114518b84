#!/usr/bin/env bash
# Usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of test.py]
# On one machine, torchrun selects a free port unless PORT or MASTER_PORT is set.
# For several machines, set NNODES, NODE_RANK, MASTER_ADDR and PORT.
set -e
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
PORT=${PORT:-$MASTER_PORT}
if [ "${NNODES:-1}" = 1 ] && [ -z "$PORT" ]; then
    MACHINES=(--standalone)
else
    MACHINES=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}"
        --master_port="${PORT:-29500}")
fi
torchrun "${MACHINES[@]}" --nproc_per_node="$GPUS" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
