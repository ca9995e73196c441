/** `nexus user`: what is sent and shown, and that a password comes from anywhere but the command line. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { UntypedHandleCall } from '@grpc/grpc-js';
import { expect } from 'chai';
import { NexusError } from '../../shared/errors.js';
import type { User } from '../../shared/gen/nexus/v1/identity.js';
import { AuditEntry, type CreateUserRequest } from '../../shared/gen/nexus/v1/identity.js';
import { MIB } from '../../shared/limits.js';
import { answer, FakeController } from '../support/fake-controller.js';

const user = (username: string, change: Partial<User> = {}): User => ({
  username,
  email: `${username}@example.org`,
  role: 'user',
  disabled: false,
  createdAt: '2026-01-01T00:00:00.000Z',
  ...change,
});

async function using(
  answers: Readonly<Record<string, UntypedHandleCall>>,
  act: (controller: FakeController) => Promise<void>,
): Promise<void> {
  await using controller = await FakeController.start(answers);
  await act(controller);
}

describe('nexus user', () => {
  it('lists all pages, as a table and in the promised shape', async () => {
    const pages: Record<string, { users: User[]; nextPageToken: string }> = {
      '': { users: [user('alice', { role: 'admin' })], nextPageToken: 'alice' },
      alice: { users: [user('bob', { disabled: true })], nextPageToken: '' },
    };
    const listUsers = answer(({ pageToken }: { pageToken: string }) => pages[pageToken]);
    await using({ listUsers }, async (controller) => {
      const { stdout } = await controller.run(['user', 'ls']);
      expect(stdout).to.match(
        /^NAME +ROLE +STATE +AGE +EMAIL\nalice +admin +active +\S+ +alice@\S+\nbob +user +disabled +\S+ +bob@\S+\n$/,
      );
      expect(JSON.parse((await controller.run(['user', 'ls', '-o', 'json'])).stdout)).to.deep.equal([
        {
          username: 'alice',
          email: 'alice@example.org',
          role: 'admin',
          disabled: false,
          created_at: '2026-01-01T00:00:00.000Z',
        },
        {
          username: 'bob',
          email: 'bob@example.org',
          role: 'user',
          disabled: true,
          created_at: '2026-01-01T00:00:00.000Z',
        },
      ]);
    });
  });

  it('makes an account with a password from a pipe or a file, and refuses one in an argument', async () => {
    const got: CreateUserRequest[] = [];
    const createUser = answer((request: CreateUserRequest) => {
      got.push(request);
      return { user: user(request.username) };
    });
    await using({ createUser }, async (controller) => {
      const line = ['user', 'create', 'alice', '--email', 'alice@example.org'];
      const outcome = await controller.run(line, 'from a pipe\r\nnot this\n');
      expect(outcome).to.deep.equal({ exitCode: 0, stdout: 'alice  user, active, alice@example.org\n', stderr: '' });
      const file = join(controller.folder, 'secret');
      await writeFile(file, 'from a file\n');
      await controller.run([...line, '--password-file', file, '--role', 'admin']);
      expect(got).to.deep.equal([
        { username: 'alice', email: 'alice@example.org', password: 'from a pipe', role: 'user' },
        { username: 'alice', email: 'alice@example.org', password: 'from a file', role: 'admin' },
      ]);
      expect(await controller.run(line)).to.include({
        exitCode: 2,
        stderr: 'nexus: standard input ended before the password\n',
      });
      await writeFile(file, '\n');
      expect(await controller.run([...line, '--password-file', file])).to.include({ exitCode: 2 });
      expect(await controller.run([...line, '--password-file', join(file, 'x')])).to.include({ exitCode: 1 });
      expect(await controller.run([...line, '--password', 'shown to everybody'])).to.include({ exitCode: 2 });
      expect(await controller.run(line, 'x'.repeat(10_000))).to.include({ exitCode: 2 });
      expect(got).to.have.length(2);
    });
  });

  it('changes roles and quotas, and names what was typed when it is refused', async () => {
    const setRole = answer(({ username, role }: { username: string; role: string }) => {
      if (role === 'king') {
        const details = { field: 'role', problem: 'must be user or admin' };
        throw new NexusError('invalid_argument', 'role: must be user or admin', details);
      }
      return { user: user(username, { role }) };
    });
    const limits: bigint[] = [];
    const setQuota = answer(({ username, limit }: { username: string; limit: bigint }) => {
      limits.push(limit);
      return { username, limit };
    });
    await using({ setRole, setQuota }, async (controller) => {
      const { stdout } = await controller.run(['user', 'set-role', 'alice', 'admin']);
      expect(stdout).to.equal('alice  admin, active, alice@example.org\n');
      expect(await controller.run(['user', 'set-role', 'alice', 'king'])).to.deep.equal({
        exitCode: 2,
        stdout: '',
        stderr: 'nexus: ROLE: must be user or admin\n',
      });
      expect((await controller.run(['user', 'set-quota', 'alice', '1.5M'])).stdout).to.equal('alice  1.5 MB\n');
      const none = await controller.run(['user', 'set-quota', 'alice', 'none', '-o', 'json']);
      expect(JSON.parse(none.stdout)).to.deep.equal({ username: 'alice', limit: 0 });
      expect(limits).to.deep.equal([BigInt(1.5 * MIB), 0n]);
      const refused = await controller.run(['user', 'set-quota', 'alice', '12']);
      expect(refused).to.include({ exitCode: 2 });
      expect(refused.stderr).to.match(/^nexus: LIMIT can't be "12"; it needs a unit/);
    });
  });

  it('disables and enables what it can of several accounts', async () => {
    const setDisabled = answer(({ username, disabled }: { username: string; disabled: boolean }) => {
      if (username === 'nobody') throw new NexusError('not_found', 'there is no account "nobody"');
      return { user: user(username, { disabled }) };
    });
    await using({ setDisabled }, async (controller) => {
      expect(await controller.run(['user', 'disable', 'alice', 'nobody'])).to.deep.equal({
        exitCode: 3,
        stdout: 'alice  user, disabled, alice@example.org\n',
        stderr: 'nexus: there is no account "nobody"\n',
      });
      expect(await controller.run(['user', 'enable', 'alice', '-o', 'json'])).to.include({ exitCode: 0 });
    });
  });

  it('reads as much of the audit log as it is asked for', async () => {
    const entries = Array.from({ length: 2500 }, (_, at) =>
      AuditEntry.fromPartial({ id: BigInt(2500 - at), at: '2026-01-01T00:00:00.000Z', action: 'login.verified' }),
    );
    const asked: number[] = [];
    const listAudit = answer(({ pageSize, pageToken }: { pageSize: number; pageToken: string }) => {
      asked.push(pageSize);
      const from = Number(pageToken);
      return { entries: entries.slice(from, from + pageSize), nextPageToken: String(from + pageSize) };
    });
    await using({ listAudit }, async (controller) => {
      const { stdout } = await controller.run(['user', 'audit', '--limit', '1200', '-o', 'json']);
      const shapes = JSON.parse(stdout) as { id: number }[];
      expect([shapes.length, shapes[0]?.id, shapes.at(-1)?.id]).to.deep.equal([1200, 2500, 1301]);
      expect(asked).to.deep.equal([1000, 200]);
      const { stdout: shown } = await controller.run(['user', 'audit', 'alice']);
      expect(shown.split('\n')).to.have.length(102);
      expect(shown).to.match(/^AT +ACTION +USER +BY +FROM +DETAIL\n/);
    });
  });

  it('rotates the key, and says what becomes of tokens', async () => {
    const asked: boolean[] = [];
    const rotateSigningKey = answer(({ voidOldTokens }: { voidOldTokens: boolean }) => {
      asked.push(voidOldTokens);
      return { kid: 'k1' };
    });
    await using({ rotateSigningKey }, async (controller) => {
      const { stdout } = await controller.run(['user', 'rotate-key']);
      expect(stdout).to.equal('new key k1; tokens from before stay valid until they expire\n');
      const json = await controller.run(['user', 'rotate-key', '--void-old-tokens', '-o', 'json']);
      expect(JSON.parse(json.stdout)).to.deep.equal({ kid: 'k1', old_tokens_void: true });
      expect(asked).to.deep.equal([false, true]);
    });
  });
});
