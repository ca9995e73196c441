/** Sixty nodes at once; `npm run bench -- thousand` is the same with a thousand. */
import { liveThrough } from '../support/many-nodes.js';
import { describeWithCluster } from '../support/system.js';

describeWithCluster('many nodes', { env: { NEXUS_LAMBDA_POOL_MIN: '0' } }, (cluster) => {
  it('are made at once, hold a file together, are known to be gone, outlive the controller, and go', async function () {
    this.timeout(1_200_000);
    await liveThrough(cluster(), { nodes: 60, spreadOver: 45, killed: 12 }, (step, ms) => {
      process.stdout.write(`      ${step}: ${ms.toFixed(0)} ms\n`);
    });
  });
});
