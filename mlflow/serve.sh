#!/usr/bin/env bash
# The MLflow tracking server on SQLite and local artifacts: serve.sh HOST PORT HOME
# Artifacts are addressed through the server, never by their folder: HOME may be moved, and workers elsewhere log here too.
set -euo pipefail
umask 077
host=$1 port=$2 home=$3
mkdir -p "$home/mlartifacts"
exec env MLFLOW_DISABLE_TELEMETRY=true mlflow server --host "$host" --port "$port" --workers 1 \
  --backend-store-uri "sqlite:///$home/mlflow.db" \
  --serve-artifacts --artifacts-destination "$home/mlartifacts"
