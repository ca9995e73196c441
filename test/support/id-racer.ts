/**
 * A controller of one instance that claims and releases ranges of user ids as fast as it can, each release twice at once.
 * Arguments: the folder of claims, the run folder, and a folder in which who holds a range has a mark. Fails if a range has
 * two holders, or if a claim is gone that its holder has not released.
 */
import { mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { IdRanges } from '../../controller/hosting/contained/id-ranges.js';
import type { NodeId } from '../../shared/ids.js';

const ROUNDS = 60;
const NODES = 8;
/** Few, so that all want the same ones. */
const WANTED = 0x7000_0000;

const [, , claims = '', runDir = '', held = ''] = process.argv;
const ranges = new IdRanges(claims, runDir);

async function hold(node: NodeId): Promise<void> {
  await mkdir(join(runDir, node), { recursive: true });
  const first = await ranges.claim(node, WANTED);
  const mark = join(held, String(first));
  // Fails where another holder's mark is.
  await symlink(node, mark);
  if ((await ranges.claim(node, first)) !== first) throw new Error(`the claim of ${first} is gone`);
  await rm(mark);
  await rm(join(runDir, node), { recursive: true });
  await Promise.all([ranges.release(node), ranges.release(node)]);
}

for (let round = 0; round < ROUNDS; round += 1) {
  const nodes = Array.from({ length: NODES }, (_, at) => String(round * NODES + at).padStart(12, '0') as NodeId);
  await Promise.all(nodes.map(hold));
}
