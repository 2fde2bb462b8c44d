#!/usr/bin/env bash
# The MLflow tracking server on SQLite and local artifacts: serve.sh HOST PORT HOME
# Artifacts are named by their folder, not through the server, so that runs with and without it agree.
set -euo pipefail
umask 077
host=$1 port=$2 home=$3
mkdir -p "$home/mlartifacts"
exec env MLFLOW_DISABLE_TELEMETRY=true mlflow server --host "$host" --port "$port" --workers 1 \
  --backend-store-uri "sqlite:///$home/mlflow.db" \
  --no-serve-artifacts --default-artifact-root "file://$home/mlartifacts"
