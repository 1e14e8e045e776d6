// Reads one policy per line, with method ARNs and our verdicts. Compares each verdict with the one of
// iam-simulate.
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const counts = { Allowed: 0, ExplicitlyDenied: 0, ImplicitlyDenied: 0 }
let different = 0

for await (const line of createInterface({ input: createReadStream(process.argv[2]) })) {
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

console.log(`iam-simulate: ${JSON.stringify(counts)}, ${different} different`)
const enough = Object.values(counts).every((count) => count > 100)
if (!enough) console.error('too few pairs with one of the verdicts')
process.exitCode = different === 0 && enough ? 0 : 1

async function verdict(policy, arn) {
  const accountId = arn.split(':')[4]
  const response = await runSimulation({
    identityPolicies: [{ name: 'authorizer', policy }],
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    request: {
      action: 'execute-api:Invoke',
      principal: `arn:aws:iam::${accountId}:user/caller`,
      resource: { resource: arn, accountId },
      contextVariables: {},
    },
  }, {})
  return response.resultType === 'error' ? `error ${JSON.stringify(response.errors)}` : response.overallResult
}
