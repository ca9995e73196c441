/** `nexus fs quota` */
import { NexusError } from '../../shared/errors.js';
import type { GetQuotaResponse } from '../../shared/gen/nexus/v1/fs.js';
import { command } from '../runner/command.js';
import { SLOW_DEADLINE_MS } from '../connect/connection.js';
import { formatBytes } from '../terminal/format.js';
import { facts } from '../terminal/output.js';
import { plainShape } from '../runner/shapes.js';

export const quota = command({
  summary: 'how much may be stored, and how much is',
  details: 'Raw files (nexus file) count as well as those in folders. Reserved bytes belong to running uploads.',
  positionals: {},
  flags: {
    recount: { type: 'boolean', description: 'add up every file again; exits with 1 if the account differs' },
    user: { type: 'string', hint: 'NAME', description: "another user's (administrators)", field: 'username' },
  },
  examples: [
    ['nexus fs quota', 'limit, used, reserved'],
    ['nexus fs quota --recount', 'and a check of them'],
    ['nexus fs quota --user alice', "alice's"],
  ],
  run: async (input, context) => {
    // To the controller it means whoever asks.
    if (input.user === '') throw new NexusError('invalid_argument', '--user needs the name of a user');
    const controller = await context.connect();
    const { recount, user: username = '' } = input;
    const { fs } = controller;
    const deadlineMs = recount ? SLOW_DEADLINE_MS : undefined;
    const found = await controller.call(fs, fs.getQuota, { recount, username }, deadlineMs);
    const { recountedUsed, recountedReserved, ...account } = found;
    await context.print(plainShape(recount ? found : account), () => quotaText(found, recount));
    if (recount && (recountedUsed !== found.used || recountedReserved !== found.reserved)) {
      throw new NexusError(
        'internal',
        `the account of ${found.username} has ${found.used} bytes used and ${found.reserved} reserved, its files add up to ${recountedUsed} and ${recountedReserved}; please report this`,
      );
    }
    return 0;
  },
});

const quotaText = (found: GetQuotaResponse, isRecounted: boolean): string => {
  const { username, limit, used, reserved } = found;
  const free = limit - used - reserved;
  const amount = (bytes: bigint): string => formatBytes(Number(bytes));
  const rows: [string, string][] = [
    ['user', username],
    ['limit', limit === 0n ? 'none' : amount(limit)],
    ['used', amount(used)],
    ['reserved', amount(reserved)],
  ];
  if (limit > 0n) rows.push(['free', amount(free > 0n ? free : 0n)]);
  if (isRecounted)
    rows.push(['recounted', `${amount(found.recountedUsed)} used, ${amount(found.recountedReserved)} reserved`]);
  return facts(rows);
};
