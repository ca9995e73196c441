import { expect } from 'chai';
import { parsePostgresUrl } from '../../controller/store/postgres/url.js';
import { postgresLocation } from '../../controller/store/postgres/open.js';
import { sqliteLocation } from '../../controller/store/sqlite/open.js';
import { errorOf } from '../support/codes.js';

describe('the address of a PostgreSQL database', () => {
  const server = { host: 'db.example', port: 5432, user: 'ann', database: 'cloud', ssl: false };

  it('is read as libpq does', () => {
    expect(parsePostgresUrl('postgresql://ann@db.example/cloud')).to.deep.equal(server);
    expect(parsePostgresUrl('postgres://ann@db.example:5433/cloud')).to.deep.equal({ ...server, port: 5433 });
    const socket = { ...server, host: '/run/postgresql' };
    expect(parsePostgresUrl('postgresql://ann@localhost/cloud?host=/run/postgresql')).to.deep.equal(socket);
    expect(parsePostgresUrl('postgresql://ann@%2Frun%2Fpostgresql/cloud')).to.deep.equal(socket);
    const { ssl } = parsePostgresUrl('postgresql://ann@db.example/cloud?sslmode=verify-full');
    expect(ssl).to.deep.equal({ rejectUnauthorized: true });
  });

  for (const [what, url, word] of [
    ['a password', 'postgresql://ann:secret@db.example/cloud', 'database-password-file'],
    ['no user', 'postgresql://db.example/cloud', 'user'],
    ['no database', 'postgresql://ann@db.example', 'database'],
    ['another protocol', 'mysql://ann@db.example/cloud', 'postgresql:'],
    ['a parameter that would be ignored', 'postgresql://ann@db.example/cloud?sslmod=require', 'sslmod'],
    ['a mode of TLS that is not there', 'postgresql://ann@db.example/cloud?sslmode=prefer', 'sslmode'],
    ['a certificate that is not there', 'postgresql://a@b/c?sslmode=verify-full&sslrootcert=/absent', '/absent'],
    ['no address at all', 'somewhere', 'no URL'],
  ] as const) {
    it(`is refused with ${what}, and not repeated`, async () => {
      const error = await errorOf(() => parsePostgresUrl(url));
      expect(error.code).to.equal('invalid_argument');
      expect(error.message).to.include(word).and.not.include('secret');
    });
  }
});

describe('where a database is', () => {
  const settings = { stateDir: '/s', instance: 'nexus', databaseUrl: undefined, databasePasswordFile: undefined };

  it('is a file of the state folder, or a schema that no other instance has', () => {
    expect(sqliteLocation(settings, 'auth')).to.deep.equal({ path: '/s/auth.db' });
    const onServer = { ...settings, databaseUrl: 'postgresql://a@b/c' };
    expect(postgresLocation(onServer, 'auth')).to.deep.include({ schema: 'auth' });
    expect(postgresLocation({ ...onServer, instance: 'lab' }, 'auth')).to.deep.include({ schema: 'auth_lab' });
  });
});
