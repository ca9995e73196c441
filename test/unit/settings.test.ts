import { expect } from 'chai';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { instanceDefaults } from '../../shared/config/instance.js';
import { inForceFile, inForceText, withoutEffect } from '../../shared/config/in-force.js';
import { loadSettings, type SettingSources } from '../../shared/config/settings.js';

const OTHER_VARIABLES = [
  'AGENT_CONFIG',
  'AGENT_WAITING',
  'BENCH_NODES',
  'CALLER',
  'FAILPOINT',
  'IGNORED_SIGNALS',
  'NODE',
  'PROMISES_SEED',
  'REQUIRE_SYSTEM',
  'TEST_JOBS',
  'URL',
  'VM_SHORT',
  'HOME',
  'USER',
  'PASSWORD',
  'PORT',
  'SERVICE_HOST',
  'SERVICE_PORT',
  'PORT_8080_TCP_ADDR',
];

describe('settings', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-settings-'));
  const file = join(folder, 'nexus.yaml');
  after(() => {
    rmSync(folder, { recursive: true });
  });

  it('derive every host name from the instance', () => {
    expect(instanceDefaults('nexus', 'runc', 0)).to.deep.equal({
      stateDir: '/var/lib/nexus',
      runDir: '/run/nexus',
      socket: '/var/run/nexus.sock',
      bridge: 'nexus0',
      subnet: '10.0.42.0/24',
      cgroupParent: '/nexus',
      loopBase: 100,
      gatewayPort: 8080,
      lambdaUidBase: 743_000,
    });
    const other = instanceDefaults('longname', 'runc', 0);
    expect(Buffer.byteLength(other.bridge)).to.be.at.most(15);
    expect(other.stateDir).to.equal('/var/lib/nexus-longname');
    // Kernel limits that count by user must not be shared: as many as can live at once lie between two of them.
    const third = instanceDefaults('other', 'runc', 0);
    expect(Math.abs(other.lambdaUidBase - third.lambdaUidBase)).to.be.at.least(1024 + 256);
  });

  it('prefer flag to environment to file to default', () => {
    writeFileSync(file, 'default-replicas: 2\nupload-ttl-ms: 5000\nsuspect-after-ms: 4000\n');
    const env = { NEXUS_DEFAULT_REPLICAS: '3', NEXUS_UPLOAD_TTL_MS: '6000' };
    const settings = loadSettings({ file, env, uid: 0, flags: { defaultReplicas: '4' } });
    expect(settings).to.include({ defaultReplicas: 4, uploadTtlMs: 6000, suspectAfterMs: 4000, lostAfterMs: 10_000 });
  });

  it('refuse unknown keys and name the setting that is wrong', () => {
    writeFileSync(file, 'no-such-thing: 1\n');
    expect(() => loadSettings({ file, env: {}, uid: 0 })).to.throw(/unknown setting "no-such-thing"/);
    expect(() => loadSettings({ env: { NEXUS_INSTANCE: 'much-too-long-a-name' }, uid: 0 })).to.throw(
      /^setting instance, "much-too-long-a-name" in the variable NEXUS_INSTANCE, must be 1 to 8 /,
    );
  });

  it('say which key was likely meant, or where all are listed', () => {
    for (const key of ['spare-node', 'spareNodes', 'spare_nodes', 'NEXUS_SPARE_NODES', 'spare-ndoes']) {
      writeFileSync(file, `${key}: 1\n`);
      expect(() => loadSettings({ file, env: {}, uid: 0 }), key).to.throw(
        `${file}: unknown setting "${key}"; did you mean "spare-nodes"?`,
      );
    }
    writeFileSync(file, 'no-such-thing: 1\n');
    expect(() => loadSettings({ file, env: {}, uid: 0 })).to.throw(/; nexus\.sample\.yaml .* has them all$/);
  });

  it('of a controller that runs are compared with others, and what may be a password is not shown', () => {
    const runDir = folder;
    const inForce = loadSettings({ env: { NEXUS_RUN_DIR: runDir, NEXUS_NATS_URL: 'nats://user:word@a' }, uid: 0 });
    const env = { NEXUS_RUN_DIR: runDir, NEXUS_NATS_URL: 'nats://user:pass@a' };
    const asked = loadSettings({ env: { ...env, NEXUS_SPARE_NODES: '2', NEXUS_MAIL_FROM: 'a@example' }, uid: 0 });
    expect(withoutEffect(asked), 'of one that told nothing').to.deep.equal([]);
    writeFileSync(inForceFile(inForce), inForceText(inForce));
    expect(withoutEffect(inForce)).to.deep.equal([]);
    expect(withoutEffect(asked)).to.deep.equal([
      'nats-url is another one',
      'spare-nodes is 0, not 2',
      'mail-from is unset, not a@example',
    ]);
    // As of a controller of an earlier version.
    const { spareNodes: _, ...earlier } = JSON.parse(inForceText(inForce)) as Record<string, unknown>;
    writeFileSync(inForceFile(inForce), JSON.stringify(earlier));
    expect(withoutEffect(asked)).to.have.length(2);
  });

  it('of a variable that is like a setting’s are refused, with the name that was meant', () => {
    const message = (env: NodeJS.ProcessEnv): string => refusal('', { env });
    expect(message({ NEXUS_SPARE_NODE: '2' })).to.match(
      /^unknown variable NEXUS_SPARE_NODE; did you mean NEXUS_SPARE_NODES\?/,
    );
    expect(message({ NEXUS_SUBENT: '10.0.0.0/24' })).to.include('did you mean NEXUS_SUBNET?');
    expect(message({ NEXUS_SPARE_NODE: '' }), 'not given').to.equal('');
    // Of Nexus itself, of its tests and tools, and of other programs.
    for (const name of OTHER_VARIABLES) expect(message({ [`NEXUS_${name}`]: 'x' }), name).to.equal('');
  });

  const refusal = (text: string, given: SettingSources = {}): string => {
    writeFileSync(file, text);
    try {
      loadSettings({ env: {}, file, uid: 0, ...given });
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };

  it('say of a wrong one what was given, where, and what is allowed', () => {
    expect(refusal('log-level: loud')).to.equal(
      `setting log-level, "loud" in the file ${file}, must be one of trace, debug, info, warn, error, silent`,
    );
    expect(refusal('default-replicas: two')).to.equal(
      `setting default-replicas, "two" in the file ${file}, must be a whole number from 1 to 8`,
    );
    expect(refusal('data-port: 1', { env: { NEXUS_DATA_PORT: '99999' } })).to.equal(
      'setting data-port, "99999" in the variable NEXUS_DATA_PORT, must be a whole number from 1 to 65535',
    );
    expect(refusal('state-dir: /x', { flags: { stateDir: 'here' } })).to.equal(
      'setting state-dir, "here" by the flag --state-dir, must be an absolute path',
    );
    expect(refusal('suspect-after-ms: 9000', { env: { NEXUS_LOST_AFTER_MS: '8000' } })).to.equal(
      'setting lost-after-ms, 8000 in the variable NEXUS_LOST_AFTER_MS, must be larger than ' +
        `suspect-after-ms, 9000 in the file ${file}`,
    );
    for (const [name, value] of [
      ['spare-nodes', '2'],
      ['isolate-nodes', "'on'"],
    ] as const)
      expect(refusal(`${name}: ${value}`, { flags: { runtime: 'process' } })).to.equal(
        `setting ${name}, ${value.replaceAll("'", '')} in the file ${file}, needs containers; the runtime is process`,
      );
    expect(refusal('smtp-user: me')).to.include(`given is only smtp-user, in the file ${file}`);
  });

  it('take no list and no truth value for a number or a text', () => {
    expect(refusal('quota-mb: true')).to.match(/^setting quota-mb, true in .* whole number from 0 to/);
    expect(refusal('quota-mb: [5]')).to.match(/^setting quota-mb, \[5\] in /);
    expect(refusal('service-user: {}')).to.match(/^setting service-user, {} in .*, must be text$/);
    expect(refusal('service-user: 1000\nquota-mb: "7"')).to.equal('');
  });

  it('never show what may be a secret', () => {
    for (const text of ['database-url: postgresql://me:hidden@host/x', 'smtp-password-file: hidden'])
      expect(refusal(text))
        .to.match(/, given in the file .*, must /)
        .and.not.include('hidden');
  });

  it('refuse a subnet that is none', () => {
    const load = (subnet: string): string => loadSettings({ env: { NEXUS_SUBNET: subnet }, uid: 0 }).subnet;
    for (const subnet of ['10.1.2.0/24', '10.1.2.8/29', '127.1.2.128/25', '10.1.4.0/22'])
      expect(load(subnet)).to.equal(subnet);
    for (const subnet of [
      '300.1.1.0/24',
      '10.1.2.1/24',
      '10.1.2.4/29',
      '10.1.1.0/23',
      '10.1.0.0/21',
      '10.1.0/24',
      '224.1.2.0/24',
      'x',
    ])
      expect(() => load(subnet), subnet).to.throw(`setting subnet, "${subnet}" in the variable NEXUS_SUBNET, must be`);
  });

  it('leave one without a value to what would else decide', () => {
    writeFileSync(file, 'state-dir:\nquota-mb: null\nlog-level: ""\n');
    expect(loadSettings({ file, env: {}, uid: 0 })).to.deep.equal(loadSettings({ env: {}, uid: 0 }));
  });

  it('refuse a socket path that the kernel would cut', () => {
    const env = { NEXUS_SOCKET: `/${'x'.repeat(120)}` };
    expect(() => loadSettings({ env, uid: 0 })).to.throw(/longer than 107 bytes/);
  });
});
