#!/usr/bin/env bash
# The MLflow tracking server: serve.sh HOST PORT HOME
# SQLite and local artifacts in HOME, named by their folder and not through the server, so that runs with and without it
# agree. MLFLOW_BACKEND_STORE_URI names another database; with MLFLOW_ARTIFACTS_DESTINATION (s3://…) the server keeps the
# artifacts there and hands them out itself. With MLFLOW_AUTH_ADMIN_PASSWORD everybody has to log in.
set -euo pipefail
umask 077
host=$1 port=$2 home=$3
mkdir -p "$home"
export MLFLOW_BACKEND_STORE_URI=${MLFLOW_BACKEND_STORE_URI:-sqlite:///$home/mlflow.db} # where `ps` does not show it
options=(--host "$host" --port "$port" --workers 1)
if [[ ${MLFLOW_ARTIFACTS_DESTINATION:-} ]]; then
  options+=(--serve-artifacts)
else
  mkdir -p "$home/mlartifacts"
  options+=(--no-serve-artifacts --default-artifact-root "file://$home/mlartifacts")
fi
if [[ ${MLFLOW_AUTH_ADMIN_PASSWORD:-} ]]; then
  # Users and their rights lie in the same database. Who has no right of their own may look, and change nothing. A route
  # that MLflow knows no rule for is refused.
  export MLFLOW_AUTH_CONFIG_PATH=$home/mlflow_auth.ini MLFLOW_BASIC_AUTH_FAIL_CLOSED=true
  printf '[mlflow]\ndefault_permission = READ\ndatabase_uri = %s\n' "${MLFLOW_BACKEND_STORE_URI//%/%%}" \
    >"$MLFLOW_AUTH_CONFIG_PATH"
  options+=(--app-name basic-auth)
fi
exec env MLFLOW_DISABLE_TELEMETRY=true mlflow server "${options[@]}"
