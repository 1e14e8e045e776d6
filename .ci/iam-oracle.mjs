// Reads policies with method ARNs and our verdicts on them, one policy a line, and asks iam-simulate about each pair.
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const [path] = process.argv.slice(2)
const counts = { Allowed: 0, ExplicitlyDenied: 0, ImplicitlyDenied: 0 }
let different = 0

for await (const line of createInterface({ input: createReadStream(path) })) {
  const { policy, verdicts } = JSON.parse(line)
  for (const [arn, ours] of verdicts) {
    const theirs = await verdict(policy, arn)
    counts[ours] += 1
    if (theirs !== ours) {
      different += 1
      console.error(`${arn}: ${ours} here, ${theirs} there\n${JSON.stringify(policy)}`)
    }
  }
}

const all = Object.values(counts).reduce((sum, count) => sum + count, 0)
console.log(`iam-simulate: ${all} pairs, ${JSON.stringify(counts)}, ${different} different`)
// Pairs of one kind alone would compare nothing.
const enough = Object.values(counts).every((count) => count > 100)
if (!enough) console.error('too few pairs of a kind')
process.exitCode = different === 0 && enough ? 0 : 1

async function verdict(policy, arn) {
  const accountId = arn.split(':')[4]
  const simulation = {
    identityPolicies: [{ name: 'authorizer', policy }],
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    request: {
      action: 'execute-api:Invoke',
      principal: `arn:aws:iam::${accountId}:user/caller`,
      resource: { resource: arn, accountId },
      contextVariables: {},
    },
  }
  const response = await runSimulation(simulation, {})
  return response.resultType === 'error' ? `error ${JSON.stringify(response.errors)}` : response.overallResult
}
