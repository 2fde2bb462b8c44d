#!/usr/bin/env bash
# The MLflow tracking server: serve.sh HOST PORT HOME
# On SQLite and artifacts in HOME, or where MLFLOW_BACKEND_STORE_URI and MLFLOW_ARTIFACTS_DESTINATION say. Artifacts
# are addressed through the server, never by their folder: HOME may be moved, and workers elsewhere log here too.
# Job execution is for MLflow's own LLM judges, which nothing here uses: without it, seven processes fewer.
# With MLFLOW_AUTH_ADMIN_PASSWORD everybody has to log in.
set -euo pipefail
umask 077
host=$1 port=$2 home=$3
mkdir -p "$home/mlartifacts"
export MLFLOW_BACKEND_STORE_URI=${MLFLOW_BACKEND_STORE_URI:-sqlite:///$home/mlflow.db} # where `ps` does not show it
export MLFLOW_ARTIFACTS_DESTINATION=${MLFLOW_ARTIFACTS_DESTINATION:-$home/mlartifacts}
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
options=()
if [[ ${MLFLOW_AUTH_ADMIN_PASSWORD:-} ]]; then
  # Users and their rights lie in the same database. Who has no right of their own may look, and change nothing. A route
  # that MLflow knows no rule for is refused.
  export MLFLOW_AUTH_CONFIG_PATH=$home/mlflow_auth.ini MLFLOW_BASIC_AUTH_FAIL_CLOSED=true
  printf '[mlflow]\ndefault_permission = READ\ndatabase_uri = %s\n' "${MLFLOW_BACKEND_STORE_URI//%/%%}" \
    >"$MLFLOW_AUTH_CONFIG_PATH"
  options=(--app-name basic-auth)
fi
exec mlflow server --host "$host" --port "$port" --workers 1 --serve-artifacts "${options[@]}"
