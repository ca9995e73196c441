/** Images from tarballs: any root file system will do, and a hostile archive does no harm. */
import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
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

  it('what belongs to ids that no node has is nobody’s, and can be used', async () => {
    mkdirSync(path('theirs'));
    execFileSync('tar', ['-xzf', path('tiny.tar.gz'), '-C', path('theirs')]);
    for (const applet of ['stat', 'mv', 'rm', 'chown']) symlinkSync('busybox', path('theirs/bin', applet));
    mkdirSync(path('theirs/srv/folder'), { recursive: true });
    symlinkSync('/etc/shadow', path('theirs/srv/link'));
    for (const file of ['file', 'folder/file', 'program', 'own']) writeFileSync(path('theirs/srv', file), 'content');
    const own = (owner: string, ...names: string[]): unknown =>
      execFileSync('chown', ['-h', owner, ...names.map((name) => path('theirs/srv', name))]);
    own('70000:70000', 'file', 'folder', 'folder/file', 'link');
    own('0:4000000000', 'program');
    own('65534:33', 'own');
    execFileSync('chmod', ['-R', 'go=', path('theirs/srv')]);
    execFileSync('chmod', ['4755', path('theirs/srv/program')]);
    execFileSync('tar', ['-cf', path('theirs.tar'), '-C', path('theirs'), '.']);
    const shadow = statSync('/etc/shadow').uid;
    const { stderr } = await cluster().run('image', 'import', 'theirs', path('theirs.tar'));
    expect(stderr).to.contain('left out of image theirs: owners above 65534: 5');
    expect(statSync('/etc/shadow').uid).to.equal(shadow);
    await cluster().ok('node', 'create', 'small', '--image', 'theirs', '--storage', '64M');
    const used = [
      'cd /srv; stat -c "%n %u %g %a" *',
      'cat file folder/file && mv folder moved && rm file && chown 5:5 moved program && echo used',
    ];
    expect(await cluster().ok('node', 'exec', 'small', '--', 'sh', '-c', used.join('\n'))).to.equal(
      [
        'file 65534 65534 600',
        'folder 65534 65534 700',
        'link 65534 65534 777',
        'own 65534 33 600',
        'program 0 65534 755',
        'contentcontentused\n',
      ].join('\n'),
    );
    // One of an earlier version, which took any owner.
    const image = join(cluster().stateDir, 'images', 'theirs');
    execFileSync('chown', ['70000', join(image, 'rootfs/srv/file')]);
    rmSync(join(image, 'owners-of-nodes'));
    await cluster().killController();
    await cluster().startController();
    expect(statSync(join(image, 'rootfs/srv/file')).uid).to.equal(65_534);
    await cluster().ok('node', 'rm', 'small');
    await cluster().ok('image', 'rm', 'theirs');
  });

  it('in a node its root has owners as a person expects: by tar in and out, as another user, over a restart', async () => {
    const owners = ['0:0', '1:1', '33:65534', '1000:1000', '65533:65533', '65534:65534'];
    mkdirSync(path('many'));
    for (const owner of owners) {
      writeFileSync(path('many', owner.replace(':', '-')), owner);
      execFileSync('chown', [owner, path('many', owner.replace(':', '-'))]);
    }
    execFileSync('chmod', ['6755', path('many', '1-1')]);
    const list = (archive: Buffer | string): string =>
      execFileSync('tar', ['--numeric-owner', '-tvf', '-'], { input: archive, encoding: 'utf8' });
    // Mode and owner; one of the two programs shows a folder's size.
    const told = (archive: Buffer | string): string[] =>
      list(archive)
        .trim()
        .split('\n')
        .map((line) => `${line.split(' ').slice(0, 2).join(' ')} ${line.slice(line.lastIndexOf(' '))}`)
        .sort();
    const archive = execFileSync('tar', ['-C', path('many'), '-cf', '-', '.']);
    await cluster().ok('node', 'create', 'many', '--storage', '64M');
    const inNode = (...command: string[]): Promise<string> => cluster().ok('node', 'exec', 'many', '--', ...command);
    await inNode('mkdir', '/root/many');
    const unpacked = await cluster().runWith(
      { input: archive },
      'node',
      'exec',
      '-i',
      'many',
      '--',
      'tar',
      '-C',
      '/root/many',
      '-xpf',
      '-',
    );
    expect(unpacked.code, unpacked.stderr).to.equal(0);
    const another = [
      'echo "db:x:100:102::/root/db:/bin/sh" >> /etc/passwd',
      'mkdir -m 700 /root/db; chown 100:102 /root/db; chmod 711 /root',
      'su db -c "cd; id -u; id -g; echo theirs > file; cat /root/many/65533-65533; cat /etc/shadow 2>/dev/null || echo refused"',
    ];
    expect(await inNode('sh', '-c', another.join('\n'))).to.equal('100\n102\n65533:65533refused\n');
    await cluster().ok('node', 'restart', 'many');
    expect(await inNode('stat', '-c', '%u:%g', '/root/db/file')).to.equal('100:102\n');
    expect(told(await inNode('tar', '-C', '/root/many', '-cf', '-', '.'))).to.deep.equal(told(archive));
    const ofGroup =
      'mkdir /root/ours; chgrp 33 /root/ours; chmod 2775 /root/ours; touch /root/ours/new; stat -c "%g %a" /root/ours /root/ours/new';
    expect(await inNode('sh', '-c', ofGroup)).to.equal('33 2775\n33 644\n');
    const beyond = await cluster().run('node', 'exec', 'many', '--', 'chown', '70000', '/root/many');
    expect(beyond).to.include({ code: 1 });
    await cluster().ok('node', 'rm', 'many');
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
