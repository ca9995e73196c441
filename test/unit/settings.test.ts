import { expect } from 'chai';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { instanceDefaults } from '../../shared/config/instance.js';
import { loadSettings } from '../../shared/config/settings.js';

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
    const env = { NEXUS_DATA_PORT: '99999' };
    expect(() => loadSettings({ env, uid: 0 })).to.throw(/data-port \(NEXUS_DATA_PORT\)/);
    expect(() => loadSettings({ env: { NEXUS_INSTANCE: 'much-too-long-a-name' }, uid: 0 })).to.throw(
      /setting instance/,
    );
  });

  it('refuse a socket path that the kernel would cut', () => {
    const env = { NEXUS_SOCKET: `/${'x'.repeat(120)}` };
    expect(() => loadSettings({ env, uid: 0 })).to.throw(/longer than 107 bytes/);
  });
});
