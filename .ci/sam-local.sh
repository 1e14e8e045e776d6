#!/usr/bin/env bash
# `.ci/sam-local.sh BUNDLE` sends every sample event through `sam local invoke` in an unpacked
# bundle, which needs Docker. Run it with target/ci-venv/bin in the PATH. Without a Docker daemon,
# this script starts one. If that daemon cannot pull AWS's base image, a busybox image replaces it,
# because the static bootstrap needs only the shell commands with which SAM adds its emulator.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
source .ci/lib.sh

architecture=$(uname -m)
architecture=${architecture/aarch64/arm64}
image=public.ecr.aws/lambda/provided:al2023-$architecture
bundle=$1
folder=$(mktemp -d)
trap stop EXIT

main() {
    docker_runs || start_docker || not_run "no Docker daemon: $(tail -n 1 "$folder/log")"
    docker image inspect "$image" >/dev/null 2>&1 || docker pull --quiet "$image" || busybox_image ||
        not_run "no image $image"
    docker run --rm --network none --entrypoint /bin/sh "$image" -c : || not_run "Docker starts no container"
    python .ci/emulator.py sam-local "$bundle"
}

not_run() { printf 'NOT RUN: sam local invoke: %s\n' "$*"; exit 0; }

docker_runs() { docker version >/dev/null 2>&1; }

# These options work on every kernel and file system.
start_docker() {
    PATH=$PATH:/usr/sbin need dockerd docker.io >"$folder/log" 2>&1 || return
    export DOCKER_HOST=unix://$folder/socket
    PATH=$PATH:/usr/sbin as_root dockerd --host "$DOCKER_HOST" --group "$(id -g)" --pidfile "$folder/pid" \
        --data-root "$folder/data" --exec-root "$folder/run" --storage-driver vfs --iptables=false --ip6tables=false \
        >"$folder/log" 2>&1 &
    for _ in {1..100}; do
        ! docker_runs || return 0
        sleep 0.2
    done
    return 1
}

stop() {
    [ ! -f "$folder/pid" ] || as_root kill "$(cat "$folder/pid")" || true
    wait
    as_root rm -rf "$folder"
}

busybox_image() {
    [ -f "$folder/pid" ] || return # a daemon of the user gets no replaced image
    need busybox busybox-static || return
    mkdir -p "$folder"/image/{bin,opt,tmp,var/{rapid,runtime,task}}
    cp "$(command -v busybox)" "$folder/image/bin/"
    for command in sh mv chmod; do ln -s busybox "$folder/image/bin/$command"; done
    tar -C "$folder/image" -c . | docker import --change 'ENV PATH=/bin' - "$image"
}

main
