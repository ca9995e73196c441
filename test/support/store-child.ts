/** Writes to a store as fast as it can and prints each write that was acknowledged, until it is killed. */
import { createLogger } from '../../shared/log.js';
import { sqlite } from '../../controller/store/sqlite/open.js';
import { openStore } from '../../controller/store/typeorm/store.js';
import { nodeRecord } from './records.js';

const [, , path = ''] = process.argv;
const store = await openStore(sqlite({ path }), createLogger('child', 'silent'));
for (let slot = 0; ; slot += 1) {
  const node = await store.nodes.reserve(slot + 1, (free) => nodeRecord(`n${free}`, free));
  process.stdout.write(`${node.name}\n`);
}
