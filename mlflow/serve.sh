#!/usr/bin/env bash
# The MLflow tracking server on SQLite and local artifacts: serve.sh HOST PORT HOME
# Artifacts are named by their folder, not through the server, so that runs with and without it agree.
# Job execution is for MLflow's own LLM judges, which nothing here uses: without it, seven processes fewer.
set -euo pipefail
umask 077
host=$1 port=$2 home=$3
mkdir -p "$home/mlartifacts"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
exec mlflow server --host "$host" --port "$port" --workers 1 \
  --backend-store-uri "sqlite:///$home/mlflow.db" \
  --no-serve-artifacts --default-artifact-root "file://$home/mlartifacts"
