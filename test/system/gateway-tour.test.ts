/** The documented tour with plain curl, its codes read from mails that a real SMTP server has got. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually, PROJECT, TestCluster } from '../support/cluster.js';
import { GatewayClient, PASSWORD } from '../support/gateway.js';
import { MailServer } from '../support/mail-server.js';
import { skipWithoutSystem } from '../support/system.js';

describe('the tour of the REST API', function () {
  this.timeout(300_000);

  it('registers, gets codes by mail, and goes through nodes, files and folders', async function () {
    skipWithoutSystem(this);
    await using mail = await MailServer.start({ authOptional: true });
    const cluster = await TestCluster.start({
      gateway: true,
      env: {
        NEXUS_SMTP_HOST: '127.0.0.1',
        NEXUS_SMTP_PORT: String(mail.port),
        NEXUS_SMTP_SECURITY: 'none',
        NEXUS_MAIL_FROM: 'nexus@example.org',
        NEXUS_NODES_PER_USER: '1',
      },
    });
    try {
      const { url } = await GatewayClient.of(cluster);
      const script = join(PROJECT, 'docs', 'examples', 'rest-tour.sh');
      const tour = spawn(script, [url, 'tourist', PASSWORD, 'tourist@example.org'], { stdio: 'pipe' });
      let said = '';
      for (const stream of [tour.stdout, tour.stderr])
        stream.on('data', (data: Buffer) => {
          said += data.toString('utf8');
        });
      tour.stdin.on('error', () => undefined);
      const ended = new Promise<number | null>((resolve) => tour.once('close', resolve));
      for (const mails of [1, 2]) {
        const received = await eventually(
          () => mail.received,
          (now) => now.length >= mails || tour.exitCode !== null,
        );
        tour.stdin.write(`${/^Code: (\d{6})/m.exec(received.at(-1)?.text ?? '')?.[1] ?? ''}\n`);
      }
      expect(await ended, said).to.equal(0);
      expect(said).to.contain('== done').and.contain('"name":"tour"').and.contain('"name":"cat.jpg"');
      expect(said, 'it created its node').not.to.contain('lets its administrators alone');
    } finally {
      expect(await cluster.dispose(), 'left on the host').to.deep.equal([]);
    }
  });
});
