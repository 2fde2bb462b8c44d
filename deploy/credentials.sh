#!/bin/sh
# The passwords and keys of a deployment, each made once: credentials.sh [FILE]
# FILE is deploy/.env by default, for its owner's eyes only. What it says already stays as it is, so the script may be
# run again, and is after an upgrade that needs another one. The names are those that the servers and clients read.
set -eu
umask 077
file=${1:-$(dirname "$0")/.env}
touch "$file"
chmod 600 "$file"
exec 9<"$file"
flock 9 # one at a time: what two made at once would not be one deployment's
[ -z "$(tail -c 1 "$file")" ] || echo >>"$file" # an editor left the last line without its end

put() { grep -q "^$1=" "$file" || printf '%s=%s\n' "$1" "$2" >>"$file"; }
get() { grep "^$1=" "$file" | tail -n 1 | cut -d = -f 2-; }
random() { od -A n -v -t x1 -N 24 /dev/urandom | tr -d ' \n'; }
fernet_key() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }

put PREFECT_SERVER_API_AUTH_STRING "unilogit:$(random)"
put PREFECT_API_AUTH_STRING "$(get PREFECT_SERVER_API_AUTH_STRING)"
put MLFLOW_AUTH_ADMIN_USERNAME unilogit
put MLFLOW_AUTH_ADMIN_PASSWORD "$(random)"
put MLFLOW_TRACKING_USERNAME "$(get MLFLOW_AUTH_ADMIN_USERNAME)"
put MLFLOW_TRACKING_PASSWORD "$(get MLFLOW_AUTH_ADMIN_PASSWORD)"
put MLFLOW_FLASK_SERVER_SECRET_KEY "$(random)"
put MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY "$(fernet_key)"
put POSTGRES_PASSWORD "$(random)"
put PREFECT_DATABASE_PASSWORD "$(random)"
put MLFLOW_DATABASE_PASSWORD "$(random)"
put LEDGER_DATABASE_PASSWORD "$(random)"
put MLFLOW_STORE_PASSWORD "$(random)"
put DVC_STORE_PASSWORD "$(random)"
