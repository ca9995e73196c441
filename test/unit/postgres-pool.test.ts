/** Connections to PostgreSQL that end at awkward moments, against a server that speaks just enough of the protocol. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type pg from 'pg';
import { QueryRunnerAlreadyReleasedError, QueryRunnerProviderAlreadyReleasedError } from 'typeorm';
import { translatePostgresError } from '../../controller/store/postgres/errors.js';
import { postgresDriver } from '../../controller/store/postgres/pool.js';
import { NexusError } from '../../shared/errors.js';

const message = (type: string, body: Buffer): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(type), length, body]);
};
const WELCOME = Buffer.concat([message('R', Buffer.alloc(4)), message('Z', Buffer.from('I'))]);
const TERMINATED = message('E', Buffer.from('SFATAL\0C57P01\0Mterminated\0\0'));

describe('the pool of PostgreSQL connections', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-pool-'));
  let server: Server;

  before(async () => {
    server = createServer((socket) => {
      socket.on('error', () => undefined);
      // Welcome and end arrive in the same bytes.
      socket.once('data', () => socket.end(Buffer.concat([WELCOME, TERMINATED])));
    });
    await new Promise<void>((resolve) => server.listen(join(folder, '.s.PGSQL.5432'), resolve));
  });
  after(async () => {
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });

  it('survives that the server ends a connection at the moment when it is handed out', async () => {
    const { Pool } = await postgresDriver();
    const pool = new Pool({ host: folder, user: 'nobody', database: 'none', max: 1 });
    pool.on('error', () => undefined);
    // TypeORM listens to a connection from the turn on that follows the one in which it is given.
    const { client, release } = await new Promise<{ client: pg.PoolClient | undefined; release: () => void }>(
      (given) => {
        pool.connect((_error, client, release) => {
          given({ client, release });
        });
      },
    );
    const said = await client?.query('SELECT 1').catch((error: unknown) => (error as Error).message);
    release();
    expect(said).to.be.a('string');
    await pool.end();
  });

  it('says of work whose connection was taken away that the connection broke', () => {
    for (const thrown of [new QueryRunnerAlreadyReleasedError(), new QueryRunnerProviderAlreadyReleasedError()]) {
      const translated = translatePostgresError(thrown, 'the database');
      expect(translated).to.be.instanceOf(NexusError);
      expect((translated as NexusError).code).to.equal('unavailable');
    }
  });
});
