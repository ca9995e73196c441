/** A file that a full disk cuts short never takes the place of a whole one. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { writePassingSecret, writeSecret } from '../../controller/host/secret-file.js';
import { OutboxMailer } from '../../controller/identity/outbox.js';
import { writeCard } from '../../controller/hosting/volume-cards.js';
import { systemClock } from '../../shared/async/clock.js';
import { nodeId } from '../support/records.js';
import { SmallDisk } from '../support/small-disk.js';
import { skipWithout } from '../support/system.js';

const BIG = 'x'.repeat(20_000);

describe('files on a full disk', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-files-'));
  let disk: SmallDisk | undefined;

  before(function () {
    skipWithout(this, process.getuid?.() === 0 ? undefined : 'a file system of its own needs root');
    disk = new SmallDisk(join(folder, 'disk'), 1);
  });
  after(() => {
    disk?.remove();
    rmSync(folder, { recursive: true });
  });

  const kinds: Record<string, (at: string, text: string) => Promise<unknown>> = {
    'a secret': (at, text) => writeSecret(join(at, 'key'), text),
    'a passing secret': (at, text) => writePassingSecret(join(at, 'key'), text),
    'the card of a volume': (at, text) => writeCard(at, nodeId(1), text),
    'a mail of the outbox': async (at, text) => {
      const mailer = await OutboxMailer.open(at, 'nexus@localhost', systemClock);
      await mailer.send({ to: 'a@example.org', subject: 's', text });
    },
  };
  for (const [kind, write] of Object.entries(kinds)) {
    it(`${kind} is whole or not there`, async () => {
      if (disk === undefined) throw new Error('there is no disk');
      const at = join(disk.path, kind.replaceAll(' ', '-'));
      execFileSync('mkdir', [at]);
      await write(at, 'before');
      const before = readdirSync(at).map((name) => [name, readFileSync(join(at, name), 'utf8')]);
      disk.fill();
      const failure = await write(at, BIG).then(
        () => undefined,
        (error: unknown) => (error as NodeJS.ErrnoException).code,
      );
      disk.free();
      expect(failure).to.equal('ENOSPC');
      expect(readdirSync(at).map((name) => [name, readFileSync(join(at, name), 'utf8')])).to.deep.equal(before);
    });
  }
});
