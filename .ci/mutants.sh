#!/usr/bin/env bash
# A test notices each mutant of crates/policy. All of them take 13 minutes. `.ci/mutants.sh --shard
# 0/8` tries one eighth. CONTRIBUTING.md says what to do if one survives.
set -euo pipefail
cd "$(dirname "$0")/.."

version=27.1.0
[[ $(cargo mutants --version 2>/dev/null) == "cargo-mutants $version" ]] ||
    cargo install --quiet --locked --version "$version" cargo-mutants
CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_DEBUG=0 \
    cargo mutants --package okta-authorizer-policy "$@" --jobs 2 --timeout 30 --colors never -C--lib
