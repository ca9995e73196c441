/**
 * Figures where users wait, each as a ratio to a baseline that is measured in the same run, because machines are noisy.
 * Medians of several runs. Without a name all parts run but the thousand nodes, which take a machine for themselves. Usage: npm run bench [-- node|crowd|metrics|transfer|repair|metadata|small|gateway|grpc|lambda|thousand ...]
 */
import { benchCrowd } from './crowd.js';
import { benchGateway } from './gateway.js';
import { benchGrpc } from './grpc.js';
import { benchLambda } from './lambda.js';
import { benchMetadata } from './metadata.js';
import { benchMetrics } from './metrics.js';
import { benchNode } from './node.js';
import { benchRepair } from './repair.js';
import { benchSmall } from './small.js';
import { benchThousand } from './thousand.js';
import { benchTransfer } from './transfer.js';

const SUITES: Readonly<Record<string, () => Promise<void>>> = {
  node: benchNode,
  transfer: benchTransfer,
  crowd: benchCrowd,
  metrics: benchMetrics,
  repair: benchRepair,
  metadata: benchMetadata,
  small: benchSmall,
  gateway: benchGateway,
  grpc: benchGrpc,
  lambda: benchLambda,
  thousand: benchThousand,
};

const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !Object.hasOwn(SUITES, name));
if (unknown !== undefined) {
  process.stderr.write(`unknown suite ${unknown}; there are: ${Object.keys(SUITES).join(', ')}\n`);
  process.exit(2);
}
for (const [name, suite] of Object.entries(SUITES)) {
  if (wanted.includes(name) || (wanted.length === 0 && name !== 'thousand')) await suite();
}
