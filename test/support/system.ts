/** System tests need root and a kernel that can run containers. Without them they are skipped, saying why. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT, TestCluster, type ClusterOptions } from './cluster.js';
import { expect } from 'chai';

export function whySkipped(): string | undefined {
  if (process.getuid?.() !== 0) return 'system tests need root: run npm test, which asks for it';
  if (!existsSync(join(PROJECT, 'dist', 'runtime', 'agent.cjs')))
    return 'dist/runtime is not there: run deploy/bootstrap.sh';
  return undefined;
}

/** For a `before`: skips the suite for the reason, if there is one, and prints it. CI's machine has everything. */
export function skipWithout(context: Mocha.Context, reason: string | undefined): void {
  if (reason === undefined) return;
  if (process.env['NEXUS_REQUIRE_SYSTEM'] === '1') throw new Error(reason);
  process.stderr.write(`    skipped: ${reason}\n`);
  context.skip();
}

export function skipWithoutSystem(context: Mocha.Context): void {
  skipWithout(context, whySkipped());
}

/** A suite with one cluster of its own, which must leave nothing behind. */
export function describeWithCluster(
  title: string,
  options: ClusterOptions,
  body: (cluster: () => TestCluster) => void,
): void {
  describe(title, function () {
    this.timeout(600_000);
    let cluster: TestCluster | undefined;
    before(async function () {
      skipWithoutSystem(this);
      cluster = await TestCluster.start(options);
    });
    body(() => {
      if (cluster === undefined) throw new Error('the cluster is not up');
      return cluster;
    });
    // Behind those of the body, which may still need the cluster: mocha runs them in this order.
    after(async () => {
      if (cluster !== undefined) expect(await cluster.dispose(), 'left on the host').to.deep.equal([]);
    });
  });
}
