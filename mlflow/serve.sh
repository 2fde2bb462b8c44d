#!/usr/bin/env bash
# The MLflow tracking server on SQLite and local artifacts: serve.sh HOST PORT HOME
# Artifacts are addressed through the server, never by their folder: HOME may be moved, and workers elsewhere log here too.
# Job execution is for MLflow's own LLM judges, which nothing here uses: without it, seven processes fewer.
set -euo pipefail
umask 077
host=$1 port=$2 home=$3
mkdir -p "$home/mlartifacts"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
exec mlflow server --host "$host" --port "$port" --workers 1 \
  --backend-store-uri "sqlite:///$home/mlflow.db" \
  --serve-artifacts --artifacts-destination "$home/mlartifacts"
