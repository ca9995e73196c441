/** What a daemon inherits: brought to known values by the real functions, on what Linux shows. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { replaceEnvironment } from '../../controller/host/inherited.js';
import { limitsToRaise } from '../../shared/host/limits.js';

const SYSTEM = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

describe('the environment that a controller inherits', () => {
  const after = (given: NodeJS.ProcessEnv): NodeJS.ProcessEnv => {
    replaceEnvironment(given);
    return given;
  };

  it('loses everything that changes what programs do', () => {
    const hostile = {
      LD_PRELOAD: '/tmp/evil.so',
      LD_LIBRARY_PATH: '/tmp',
      NODE_OPTIONS: '--inspect',
      TAR_OPTIONS: '--to-command=sh',
      MKE2FS_CONFIG: '/tmp/mke2fs.conf',
      NOTIFY_SOCKET: '/run/notify',
      LISTEN_FDS: '1',
      BASH_ENV: '/tmp/evil.sh',
      'BASH_FUNC_tar%%': '() { :; }',
      POSIXLY_CORRECT: '1',
      LANG: 'de_DE.UTF-8',
      LC_MESSAGES: 'de_DE.UTF-8',
    };
    expect(after(hostile)).to.deep.equal({ PATH: SYSTEM, LC_ALL: 'C.UTF-8' });
  });

  it('keeps what belongs to Nexus, to a database, to proxies and to places', () => {
    const kept = { NEXUS_INSTANCE: 'x', PGPASSWORD: 'p', https_proxy: 'http://p:1', HOME: '/root', TMPDIR: tmpdir() };
    expect(after({ ...kept })).to.include(kept);
  });

  it('drops a TMPDIR that is no folder', () => {
    expect(after({ TMPDIR: '/nonexistent/tmp' })).to.not.have.property('TMPDIR');
  });

  it('looks for programs where the system has them first, and nowhere that others can write', () => {
    const folder = mkdtempSync(join(tmpdir(), 'nexus-path-'));
    try {
      const path = (): string | undefined => after({ PATH: `.:relative::/tmp:${folder}:/usr/bin` })['PATH'];
      expect(path()).to.equal(`${SYSTEM}:${folder}`);
      chmodSync(folder, 0o777);
      expect(path()).to.equal(SYSTEM);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('the limits that a controller inherits', () => {
  const limits = (files: string, size = 'unlimited unlimited'): string =>
    [
      'Limit                     Soft Limit           Hard Limit           Units     ',
      `Max cpu time              unlimited            unlimited            seconds   `,
      `Max file size             ${size} bytes`,
      `Max data size             unlimited            unlimited            bytes     `,
      `Max processes             95000                95000                processes `,
      `Max open files            ${files} files`,
      `Max address space         unlimited            unlimited            bytes     `,
    ].join('\n');

  it('are left as they are when they do', () => {
    expect(limitsToRaise(limits('1048576 1048576'))).to.deep.equal([]);
  });

  it('are raised to the hard limit, and beyond it where that is too low', () => {
    expect(limitsToRaise(limits('64 20000'))).to.deep.equal(['--nofile=20000:20000']);
    expect(limitsToRaise(limits('64 64', '1024 unlimited'))).to.deep.equal([
      '--nofile=1024:1024',
      '--fsize=unlimited:unlimited',
    ]);
  });
});
