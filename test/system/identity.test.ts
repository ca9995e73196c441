/** Accounts on the built controller: a registration by mail, and what the gateway's socket asks for. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  credentials,
  Metadata,
  type Client,
  type CallOptions,
  type ClientUnaryCall,
  type ServiceError,
} from '@grpc/grpc-js';
import { expect } from 'chai';
import { codeOfGrpcStatus } from '../../shared/errors.js';
import { FileServiceClient } from '../../shared/gen/nexus/v1/file.js';
import { FsServiceClient } from '../../shared/gen/nexus/v1/fs.js';
import { IdentityServiceClient } from '../../shared/gen/nexus/v1/identity.js';
import { NodeServiceClient } from '../../shared/gen/nexus/v1/node.js';
import { eventually } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

type Method<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

describeWithCluster('accounts', { runtime: 'process' }, (cluster) => {
  const PASSWORD = 'correct horse battery';
  const opened: { close(): void }[] = [];

  const clientOf = <Made extends Client>(
    make: new (target: string, channel: ReturnType<typeof credentials.createInsecure>) => Made,
  ): Made => {
    const client = new make(`unix:${cluster().runDir}/gateway.sock`, credentials.createInsecure());
    opened.push(client);
    return client;
  };

  /** What the gateway would send along; answers the response or the code of the refusal. */
  function call<Request, Response>(
    client: Client,
    method: Method<Request, Response>,
    request: Request,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries({ 'nexus-client-address': '192.0.2.1', ...headers })) {
      metadata.set(name, value);
    }
    return new Promise((resolve, reject) => {
      method.call(client, request, metadata, {}, (error: ServiceError | null, response: Response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });
  }

  const refusal = async (calling: Promise<unknown>): Promise<string> =>
    await calling.then(
      () => 'accepted',
      (error: unknown) => codeOfGrpcStatus((error as ServiceError).code),
    );

  const mails = (): string[] => {
    const outbox = join(cluster().stateDir, 'outbox');
    const names = readdirSync(outbox).filter((name) => name.endsWith('.eml'));
    return names.sort().map((name) => readFileSync(join(outbox, name), 'utf8'));
  };

  const nextCode = async (before: number): Promise<string> => {
    const seen = await eventually(mails, (now) => now.length > before);
    return /^Code: (\d{6})$/m.exec(seen.at(-1) ?? '')?.[1] ?? '';
  };

  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

  const register = async (username: string): Promise<string> => {
    const client = clientOf(IdentityServiceClient);
    const email = `${username}@example.org`;
    const before = mails().length;
    await call(client, client.initRegistration, { username, email, password: PASSWORD });
    const { session } = await call(client, client.verifyRegistration, { email, code: await nextCode(before) });
    return session?.token ?? '';
  };

  afterEach(() => {
    for (const client of opened.splice(0)) client.close();
  });

  it('open the gateway socket with a token from a registration by mail, and with nothing less', async () => {
    const token = await register('alice');
    const files = clientOf(FileServiceClient);
    const list = { pageSize: 0, pageToken: '', statuses: [] };
    expect(await call(files, files.listFiles, list, bearer(token))).to.deep.equal({ files: [], nextPageToken: '' });
    expect(await refusal(call(files, files.listFiles, list))).to.equal('unauthenticated');
    expect(await refusal(call(files, files.listFiles, list, bearer(`${token}x`)))).to.equal('unauthenticated');
    expect(await refusal(call(files, files.listFiles, list, { 'nexus-as-user': 'alice' }))).to.equal('unauthenticated');
  });

  it('log in with password and code, by name or address, and out again', async () => {
    await register('bob');
    const identity = clientOf(IdentityServiceClient);
    for (const by of [
      { username: 'bob', email: '' },
      { username: '', email: 'Bob@Example.org' },
    ]) {
      const before = mails().length;
      await call(identity, identity.initLogin, { username: 'bob', password: PASSWORD });
      const { session } = await call(identity, identity.verifyLogin, { ...by, code: await nextCode(before) });
      const headers = bearer(session?.token ?? '');
      const me = await call(identity, identity.whoAmI, {}, headers);
      expect(me).to.deep.include({ username: 'bob', role: 'user', email: 'bob@example.org' });
      await call(identity, identity.logout, {}, headers);
      expect(await refusal(call(identity, identity.whoAmI, {}, headers))).to.equal('unauthenticated');
    }
  });

  it('leave nodes to administrators, and become one only by the admin socket', async () => {
    const token = await register('carol');
    const nodes = clientOf(NodeServiceClient);
    expect(await call(nodes, nodes.listNodes, {}, bearer(token))).to.deep.equal({ nodes: [] });
    const remove = { node: 'x', force: true };
    expect(await refusal(call(nodes, nodes.removeNode, remove, bearer(token)))).to.equal('permission_denied');
    const identity = clientOf(IdentityServiceClient);
    const promote = { username: 'carol', role: 'admin' };
    expect(await refusal(call(identity, identity.setRole, promote, bearer(token)))).to.equal('permission_denied');
  });

  it('keep what is one user’s from all others, call by call', async () => {
    await cluster().ok('node', 'create', 'store', '--storage', '64M');
    const [alice, mallory] = [bearer(await register('alice2')), bearer(await register('mallory'))];
    const files = clientOf(FileServiceClient);
    const fs = clientOf(FsServiceClient);
    const empty = { size: 0n, chunksCount: 0, receipts: [] };
    const open = { name: 'secret', replicas: 1, expectedSize: 0n };
    const { uploadId: done } = await call(files, files.openUpload, open, alice);
    const { file } = await call(files, files.commitUpload, { uploadId: done, ...empty }, alice);
    const id = file?.id ?? '';
    const { uploadId } = await call(files, files.openUpload, open, alice);
    const target = { path: '/secret', overwrite: false, parents: false, replicas: 1, expectedSize: 0n };
    const { uploadId: intoFs } = await call(fs, fs.openFsUpload, target, alice);
    await call(files, files.commitUpload, { uploadId: intoFs, ...empty }, alice);
    const { leaseId, file: leased } = await call(fs, fs.openFsDownload, { path: '/secret' }, alice);

    const page = { fromIndex: 0, count: 1 };
    const tries: readonly Promise<unknown>[] = [
      call(files, files.getFile, { file: id }, mallory),
      call(files, files.getFile, { file: id.slice(0, 6) }, mallory),
      call(files, files.locateFile, { file: id, why: false }, mallory),
      call(files, files.openDownload, { file: id, ...page, leaseId: '' }, mallory),
      call(files, files.openDownload, { file: leased?.id ?? '', ...page, leaseId }, mallory),
      call(files, files.removeFile, { file: id }, mallory),
      call(files, files.grantChunks, { uploadId, count: 1, retry: [], receipts: [], sizes: [] }, mallory),
      call(files, files.commitUpload, { uploadId, ...empty }, mallory),
      call(fs, fs.statEntry, { path: '/secret' }, mallory),
      call(fs, fs.statEntry, { path: '/../alice2/secret' }, mallory),
      call(fs, fs.openFsDownload, { path: '/secret' }, mallory),
      call(fs, fs.moveEntry, { from: '/secret', to: '/mine', overwrite: false }, mallory),
      call(fs, fs.removeEntry, { path: '/secret', recursive: true }, mallory),
    ];
    for (const [at, trying] of tries.entries()) expect(await refusal(trying), `try ${at}`).to.equal('not_found');
    // Whether there was anything to end is not told; nothing is.
    await refusal(call(files, files.abortUpload, { uploadId }, mallory));
    await refusal(call(fs, fs.closeFsDownload, { leaseId }, mallory));
    const quota = { recount: false, username: 'alice2' };
    expect(await refusal(call(fs, fs.getQuota, quota, mallory))).to.equal('permission_denied');
    const list = { pageSize: 0, pageToken: '', statuses: [] };
    expect((await call(files, files.listFiles, list, mallory)).files).to.deep.equal([]);
    expect((await call(fs, fs.listFolder, { path: '/', ...list }, mallory)).entries).to.deep.equal([]);

    const again = { file: leased?.id ?? '', ...page, leaseId };
    expect(await refusal(call(files, files.openDownload, again, alice))).to.equal('accepted');
    expect(await call(files, files.commitUpload, { uploadId, ...empty }, alice)).to.have.nested.property('file.id');
    expect((await call(files, files.listFiles, list, alice)).files).to.have.length(2);
  });

  it('keep sockets, keys, accounts and mail from others', () => {
    const { runDir, stateDir } = cluster();
    const modeOf = (path: string): number => statSync(path).mode & 0o777;
    expect(modeOf(join(runDir, 'gateway.sock'))).to.equal(0o660);
    expect(statSync(join(runDir, 'gateway.sock')).gid).not.to.equal(0);
    for (const name of ['auth.db', 'identity-keys.json']) expect(modeOf(join(stateDir, name)), name).to.equal(0o600);
    expect(modeOf(join(stateDir, 'outbox'))).to.equal(0o700);
  });

  it('survive a restart: account, token and logout', async () => {
    const token = await register('dave');
    await cluster().killController('SIGKILL');
    await cluster().startController();
    const identity = clientOf(IdentityServiceClient);
    expect(await call(identity, identity.whoAmI, {}, bearer(token))).to.include({ username: 'dave' });
    await call(identity, identity.logout, {}, bearer(token));
    await cluster().killController('SIGKILL');
    await cluster().startController();
    const again = clientOf(IdentityServiceClient);
    expect(await refusal(call(again, again.whoAmI, {}, bearer(token)))).to.equal('unauthenticated');
  });
});
