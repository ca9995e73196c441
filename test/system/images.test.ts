/** Images from tarballs: any root file system will do, and a hostile archive does no harm. */
import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeWithCluster } from '../support/system.js';

describeWithCluster('images', {}, (cluster) => {
  const path = (...parts: string[]): string => join(cluster().folder, ...parts);

  it('a root file system without any C library makes a node whose agent runs', async () => {
    for (const folder of ['tiny/bin', 'tiny/etc']) mkdirSync(path(folder), { recursive: true });
    copyFileSync('/bin/busybox', path('tiny/bin/busybox'));
    for (const applet of ['sh', 'ls', 'cat', 'hostname']) symlinkSync('busybox', path('tiny/bin', applet));
    writeFileSync(path('tiny/etc/os-release'), 'PRETTY_NAME="Tiny 1"\n');
    execFileSync('tar', ['-czf', path('tiny.tar.gz'), '-C', path('tiny'), '.']);
    await cluster().ok('image', 'import', 'tiny', path('tiny.tar.gz'));
    const images = await cluster().json<{ name: string; os: string }[]>('image', 'ls');
    expect(images.map(({ name, os }) => `${name}: ${os}`)).to.include('tiny: Tiny 1');
    await cluster().ok('node', 'create', 'small', '--image', 'tiny', '--storage', '64M');
    expect(await cluster().ok('node', 'exec', 'small', '--', 'hostname')).to.equal('small\n');
    expect((await cluster().run('image', 'rm', 'tiny')).stderr).to.match(/used by small/);
    await cluster().ok('node', 'rm', 'small');
    await cluster().ok('image', 'rm', 'tiny');
  });

  it('what is no archive, empty or already there is refused in one line and leaves nothing', async () => {
    writeFileSync(path('junk'), 'this is not an archive, whatever it is called'.repeat(100));
    writeFileSync(path('empty'), '');
    writeFileSync(path('cut.tar.gz'), readFileSync(path('tiny.tar.gz')).subarray(0, 100_000));
    const refusals: [number, string[]][] = [
      [2, ['image', 'import', 'bad', path('junk')]],
      [2, ['image', 'import', 'bad', path('empty')]],
      [2, ['image', 'import', 'bad', path('cut.tar.gz')]],
      [2, ['image', 'import', 'Bad_Name', path('junk')]],
      [3, ['image', 'import', 'bad', path('absent')]],
      [3, ['image', 'rm', 'absent']],
    ];
    for (const [code, args] of refusals) {
      const result = await cluster().run(...args);
      expect(result.code, `${args.join(' ')}: ${result.stderr}`).to.equal(code);
      expect(result.stderr.trim().split('\n')).to.have.length(1);
    }
    expect(existsSync(join(cluster().stateDir, 'images', 'bad'))).to.equal(false);
  });

  it('a folder of the image that is called dev somewhere below is the image’s own, and what is left out is told', async () => {
    for (const folder of ['app/usr/lib/app/dev', 'app/dev', 'app/srv/dev/deep'])
      mkdirSync(path(folder), { recursive: true });
    for (const file of ['app/usr/lib/app/dev/config.json', 'app/srv/dev/deep/one', 'app/dev/dropped', 'app/plain']) {
      writeFileSync(path(file), '{}');
    }
    for (const [name, root] of [
      ['with-dot', '.'],
      ['without', 'usr'],
    ] as const) {
      const members = root === '.' ? ['.'] : ['usr', 'srv', 'dev', 'plain'];
      execFileSync('tar', ['-cf', path(`${name}.tar`), '-C', path('app'), ...members]);
      const result = await cluster().run('image', 'import', name, path(`${name}.tar`));
      expect(result.code, result.stderr).to.equal(0);
      expect(result.stderr).to.contain(`left out of image ${name}: entries in /dev: 1`);
      const rootfs = join(cluster().stateDir, 'images', name, 'rootfs');
      const there = ['usr/lib/app/dev/config.json', 'srv/dev/deep/one', 'plain'].map((file) =>
        existsSync(join(rootfs, file)),
      );
      expect(there).to.deep.equal([true, true, true]);
      expect(existsSync(join(rootfs, 'dev/dropped'))).to.equal(false);
      await cluster().ok('image', 'rm', name);
    }
    const quiet = await cluster().run('image', 'import', 'quiet', path('tiny.tar.gz'));
    expect(quiet.stderr).not.to.contain('left out');
    await cluster().ok('image', 'rm', 'quiet');
  });

  it('an archive with device nodes or paths that lead out harms nobody', async () => {
    mkdirSync(path('evil/sub'), { recursive: true });
    execFileSync('mknod', [path('evil/sub/disk'), 'b', '7', '0']);
    execFileSync('tar', ['-cf', path('device.tar'), '-C', path('evil'), '.']);
    expect((await cluster().run('image', 'import', 'device', path('device.tar'))).code).to.equal(2);
    writeFileSync(path('escaped'), 'x');
    mkdirSync(path('evil/deep'), { recursive: true });
    execFileSync('tar', ['-cPf', path('escape.tar'), '-C', path('evil/deep'), '../../escaped', path('escaped')]);
    execFileSync('rm', [path('escaped')]);
    await cluster().run('image', 'import', 'escape', path('escape.tar'));
    expect(existsSync(path('escaped'))).to.equal(false);
  });
});

describeWithCluster('a full address range', { env: { NEXUS_SUBNET: '10.0.63.0/29' } }, (cluster) => {
  it('refuses one node more than there are addresses, and gives addresses back', async () => {
    const names = Array.from({ length: 5 }, (_, index) => `n${index}`);
    for (const name of names) await cluster().ok('node', 'create', name, '--mem', '64', '--storage', '64M');
    const refused = await cluster().run('node', 'create', 'n5', '--storage', '64M');
    expect(refused.code).to.equal(4);
    expect(refused.stderr).to.match(/address|room for|nodes/);
    await cluster().ok('node', 'rm', 'n2');
    await cluster().ok('node', 'create', 'n5', '--mem', '64', '--storage', '64M');
  });
});
