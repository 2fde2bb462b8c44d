#!/bin/sh
# An S3 store of one machine, for MLflow's artifacts and DVC's data: store.sh FOLDER [ADDRESS [PORT [OPTION…]]]
# SeaweedFS, with a bucket and a user for each: mlflow and dvc, whose secrets are MLFLOW_STORE_PASSWORD and
# DVC_STORE_PASSWORD; neither sees the other's. Nothing but S3 listens beyond loopback, as the rest knows no passwords.
# An OPTION is one of `weed server`.
set -eu
umask 077
folder=$1 address=${2:-127.0.0.1} port=${3:-8333}
shift $(($# < 3 ? $# : 3))
master=$((port + 1)) filer=$((port + 2)) volume=$((port + 3)) # and as many for gRPC, 10000 further
mkdir -p "$folder/data"
user() {
  printf '{"name": "%s", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], ' "$1" "$1" "$2"
  printf '"actions": ["Read:%s", "Write:%s", "List:%s", "Tagging:%s"]}' "$1" "$1" "$1" "$1"
}
printf '{"identities": [%s, %s]}\n' \
  "$(user mlflow "$MLFLOW_STORE_PASSWORD")" "$(user dvc "$DVC_STORE_PASSWORD")" >"$folder/users.json"

# S3's gRPC listens where S3 does, and lets whoever asks add a user: it is given a certificate that nobody else has.
secret=$folder/grpc.key certificate=$folder/grpc.crt
[ -s "$certificate" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 \
  -subj /CN=store -keyout "$secret" -out "$certificate" 2>/dev/null
export WEED_GRPC_CA="$certificate" WEED_GRPC_S3_CERT="$certificate" WEED_GRPC_S3_KEY="$secret"

# A bucket is made by a shell of the store's own, as soon as it is up; one that is there stays as it is.
(
  until printf 's3.bucket.create -name mlflow\ns3.bucket.create -name dvc\n' |
    weed shell -master "127.0.0.1:$master" >/dev/null 2>&1; do sleep 1; done
) &

# Telemetry is on unless told. What is deleted leaves the disk at the next vacuum, however little it is: a purge means it.
exec weed server -dir "$folder/data" -ip 127.0.0.1 -ip.bind 127.0.0.1 \
  -master.port "$master" -filer.port "$filer" -volume.port "$volume" -volume.max 0 -volume.preStopSeconds 0 \
  -master.telemetry=false -master.volumeSizeLimitMB 1024 \
  -master.garbageThreshold 0.000001 -master.vacuumIntervalSeconds 300 \
  -s3 -s3.config "$folder/users.json" -s3.ip.bind "$address" -s3.port "$port" -s3.iam=false \
  -s3.port.iceberg 0 -s3.port.lance 0 "$@"
