#!/usr/bin/env bash
# Evaluates the policies of the attack tests with an independent IAM evaluator, npm's
# @cloud-copilot/iam-simulate, and requires the same verdicts. PROPTEST_CASES sets the number of
# cases (36 pairs each), PROPTEST_RNG_SEED the seed.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
source .ci/lib.sh

oracle=@cloud-copilot/iam-simulate@0.1.173 # AGPL-3.0: it runs here and is never shipped
folder=$PWD/target/iam-oracle
pairs=$folder/pairs.jsonl

need npm nodejs npm
mkdir -p "$folder"
cp .ci/iam-oracle.mjs "$folder/"
npm install --prefix "$folder" --no-audit --no-fund --ignore-scripts --silent "$oracle"
rm -f "$pairs"
ORACLE_OUT=$pairs cargo test --locked --quiet --test attacks -- --ignored --exact policy::oracle::pairs_for_a_foreign_oracle
[ -s "$pairs" ] || fail "no pairs in $pairs"
node "$folder/iam-oracle.mjs" "$pairs"
