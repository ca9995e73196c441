/** Who may call what: every RPC of every service has a rule, and both sockets keep to it. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Metadata, type ServiceDefinition } from '@grpc/grpc-js';
import { expect } from 'chai';
import type { Principal } from '../../controller/identity/sessions.js';
import {
  ACCESS,
  ADMINISTRATORS,
  assertMayCall,
  requirementOf,
  type Requirement,
} from '../../controller/edge/access.js';
import { GatewayEdge, LocalEdge, type Caller } from '../../controller/edge/admission.js';
import { NexusError } from '../../shared/errors.js';
import { createLogger } from '../../shared/log.js';
import { codeOf, errorOf } from '../support/codes.js';
import { PROJECT } from '../support/cluster.js';

const log = createLogger('test', 'silent');

/** All services that are generated, whether the controller registers them or not. */
async function allServices(): Promise<readonly ServiceDefinition[]> {
  const folder = join(PROJECT, 'shared', 'gen', 'nexus', 'v1');
  const modules = await Promise.all(
    readdirSync(folder)
      .filter((name) => name.endsWith('.ts'))
      .map((name) => import(`../../shared/gen/nexus/v1/${name.replace(/ts$/, 'js')}`) as Promise<object>),
  );
  return modules.flatMap((module) =>
    Object.entries(module)
      .filter(([name]) => name.endsWith('ServiceService'))
      .map(([, service]) => service as ServiceDefinition),
  );
}

describe('access rules', () => {
  let paths: readonly string[];

  before(async () => {
    paths = (await allServices()).flatMap((service) => Object.values(service).map((method) => method.path));
  });

  const session = (role: 'user' | 'admin'): Principal => ({
    username: 'alice',
    email: 'alice@example.org',
    role,
    tokenId: 't',
    expiresAt: 1,
  });
  const gateway = new GatewayEdge(log, {
    authenticate: (token) => {
      if (token === 'user' || token === 'admin') return Promise.resolve(session(token));
      throw new NexusError('unauthenticated', 'the token is not valid');
    },
  });
  const admit = (method: string, headers: Readonly<Record<string, string>> = {}): Promise<Caller> => {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    return gateway.admit(method, metadata);
  };
  const bearing = (token: string) => ({ authorization: `Bearer ${token}` });
  const pathsOf = (requirement: Requirement) => paths.filter((path) => requirementOf(path) === requirement);

  it('are there for every RPC of every service', () => {
    expect(paths.length).to.be.greaterThan(30);
    expect(paths.filter((path) => requirementOf(path) === undefined)).to.deep.equal([]);
  });

  it('are there for no RPC that does not exist', () => {
    const ruled = Object.entries(ACCESS).flatMap(([service, rules]) =>
      Object.keys(rules).map((name) => `/${service}/${name}`),
    );
    expect(ruled.filter((path) => !paths.includes(path))).to.deep.equal([]);
  });

  it('leave to anybody what comes before a token, and what Prometheus is told, and nothing else', () => {
    const names = ['GetSigningKeys', 'InitLogin', 'InitRegistration', 'VerifyLogin', 'VerifyRegistration'];
    expect([...pathsOf('public')].sort()).to.deep.equal([
      // The calls in it come to the edge one by one (exchange.test.ts).
      '/nexus.v1.ClusterService/GetReadiness',
      '/nexus.v1.ExchangeService/Exchange',
      ...names.map((name) => `/nexus.v1.IdentityService/${name}`),
      '/nexus.v1.MetricsService/GetClusterMetrics',
    ]);
  });

  it('leave accounts, images, commands in nodes and the end of the cluster to administrators', () => {
    const names = pathsOf('administrator').map((path) => path.split('/').at(-1));
    expect(names).to.include.members(['ListUsers', 'CreateUser', 'SetRole', 'SetDisabled', 'RotateSigningKey']);
    expect(names).to.include.members(['ListAudit', 'ImportImage', 'BuildImage', 'RemoveImage', 'ExecInNode']);
    expect(names).to.include.members(['GetNodeLogs', 'Shutdown', 'CordonNode', 'ResizeNode']);
  });

  it('are told in words of what was to be done, not in names of RPCs', async () => {
    for (const path of pathsOf('administrator')) {
      const name = path.split('/').at(-1) ?? '';
      const refusal = await errorOf(() => {
        assertMayCall(path, 'administrator', false);
      });
      expect(ADMINISTRATORS, 'a line for it is missing').to.have.property(name);
      expect(refusal.message, path).to.match(/^only administrators may [a-z ]+; ask one of them$/);
    }
  });

  it('refuse an unknown method, whoever calls it', async () => {
    const unknown = ['/nexus.v1.NodeService/Format', '/other.Service/ListNodes', '/toString/x', 'x', ''];
    for (const method of [...unknown, '/nexus.v1.NodeService/constructor', '/nexus.v1.NodeService']) {
      expect(await codeOf(() => admit(method, bearing('admin'))), method).to.equal('permission_denied');
    }
  });

  it('on the gateway socket: every RPC but the public ones needs a token', async () => {
    for (const path of paths) {
      const isPublic = requirementOf(path) === 'public';
      const expected = isPublic ? 'accepted' : 'unauthenticated';
      expect(await codeOf(() => admit(path)), path).to.equal(expected);
      expect(await codeOf(() => admit(path, bearing('forged'))), path).to.equal(expected);
      expect(await codeOf(() => admit(path, { 'nexus-as-user': 'admin' })), path).to.equal(expected);
    }
  });

  it('on the gateway socket: users reach no RPC of administrators, administrators all', async () => {
    for (const path of paths) {
      const expected = requirementOf(path) === 'administrator' ? 'permission_denied' : 'accepted';
      expect(await codeOf(() => admit(path, bearing('user'))), path).to.equal(expected);
      expect(await codeOf(() => admit(path, bearing('admin'))), path).to.equal('accepted');
    }
  });

  it('on the gateway socket: nothing is a token but one Bearer', async () => {
    const path = '/nexus.v1.NodeService/ListNodes';
    for (const authorization of ['', 'user', 'Basic user', 'Bearer', 'Bearer ', 'Bearer  user', 'Bearer user x']) {
      expect(await codeOf(() => admit(path, { authorization })), authorization).to.equal('unauthenticated');
    }
    const twice = new Metadata();
    twice.add('authorization', 'Bearer user');
    twice.add('authorization', 'Bearer admin');
    expect(await codeOf(() => gateway.admit(path, twice))).to.equal('unauthenticated');
    expect(await codeOf(() => admit(path, { authorization: 'bearer user' }))).to.equal('accepted');
  });

  it('on the gateway socket: callers are who their token says, from where the gateway says', async () => {
    const path = '/nexus.v1.NodeService/ListNodes';
    const asked = { 'nexus-as-user': 'admin', 'nexus-client-address': '192.0.2.9' };
    const caller = await admit(path, { ...bearing('user'), ...asked });
    expect(caller).to.deep.include({ user: 'alice', isAdministrator: false, address: '192.0.2.9' });
    const nonsense = { ...bearing('admin'), 'nexus-client-address': '1.2.3.4; DROP' };
    expect(await admit(path, nonsense)).to.deep.include({ isAdministrator: true, address: 'unknown' });
    const anybody = await admit('/nexus.v1.IdentityService/InitLogin', bearing('admin'));
    expect(anybody).to.deep.equal({ user: '', isAdministrator: false, address: 'unknown' });
  });

  it('on the admin socket: acting for a user gives that user’s rights', async () => {
    const local = new LocalEdge(log, (user) => Promise.resolve(user === 'alice'));
    const as = (user: string): Metadata => {
      const metadata = new Metadata();
      metadata.set('nexus-as-user', user);
      return metadata;
    };
    for (const path of paths) {
      const expected = requirementOf(path) === 'administrator' ? 'permission_denied' : 'accepted';
      expect(await codeOf(() => local.admit(path, as('alice'))), path).to.equal(expected);
      expect(await codeOf(() => local.admit(path, new Metadata())), path).to.equal('accepted');
    }
    const list = '/nexus.v1.NodeService/ListNodes';
    expect(await local.admit(list, as('alice'))).to.deep.equal({ user: 'alice', isAdministrator: false });
    expect(await local.admit(list, as('admin'))).to.deep.equal({ user: 'admin', isAdministrator: true });
    expect(await codeOf(() => local.admit(list, as('../x')))).to.equal('invalid_argument');
    for (const path of paths) expect(await codeOf(() => local.admit(path, as('alcie'))), path).to.equal('not_found');
  });
});
