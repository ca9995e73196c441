import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerWritableStream, UntypedHandleCall } from '@grpc/grpc-js';
import { expect } from 'chai';
import { NexusError } from '../../shared/errors.js';
import { File } from '../../shared/gen/nexus/v1/file.js';
import { OpenFsUploadResponse, type FsEntry, type WalkFolderResponse } from '../../shared/gen/nexus/v1/fs.js';
import { answer, FakeController } from '../support/fake-controller.js';

const entry = (path: string, type: 'file' | 'folder', size = 0): FsEntry => ({
  name: path.slice(path.lastIndexOf('/') + 1),
  path,
  type,
  size: BigInt(size),
  createdAt: '2026-01-01T00:00:00.000Z',
  modifiedAt: '2026-01-02T00:00:00.000Z',
  fileId: type === 'file' ? `id-${path}` : '',
  status: 'ready',
});

/** The calls that read, over a fixed set of entries. */
function reading(entries: readonly FsEntry[]): Record<string, UntypedHandleCall> {
  const all = [entry('/', 'folder'), ...entries];
  const find = (path: string): FsEntry => {
    const found = all.find((one) => one.path === path);
    if (found === undefined) throw new NexusError('not_found', `there is nothing at ${path}`);
    return found;
  };
  return {
    statEntry: answer(({ path }: { path: string }) => ({ entry: find(path) })),
    walkFolder: ((call: ServerWritableStream<{ path: string }, WalkFolderResponse>) => {
      const { path } = call.request;
      const prefix = path === '/' ? '/' : `${path}/`;
      call.write({ entries: entries.filter((one) => one.path.startsWith(prefix)) });
      call.end();
    }) as UntypedHandleCall,
  };
}

async function using(
  answers: Readonly<Record<string, UntypedHandleCall>>,
  act: (controller: FakeController) => Promise<void>,
): Promise<void> {
  await using controller = await FakeController.start(answers);
  await act(controller);
}

describe('nexus fs', () => {
  it('lists all pages, as a table and in the promised shape', async () => {
    const pages: Record<string, { entries: FsEntry[]; nextPageToken: string }> = {
      '': { entries: [entry('/a\u001b[31m', 'folder')], nextPageToken: 'more' },
      more: { entries: [entry('/b', 'file', 1536)], nextPageToken: '' },
    };
    const listFolder = answer(({ pageToken }: { pageToken: string }) => pages[pageToken]);
    await using({ listFolder }, async (controller) => {
      const { stdout } = await controller.run(['fs', 'ls']);
      expect(stdout).to.match(/^TYPE +SIZE +AGE +NAME\nfolder +- +\S+ +a\?\[31m\/\nfile +1\.5 KB +\S+ +b\n$/);
      const shapes = JSON.parse((await controller.run(['fs', 'ls', '/', '-o', 'json'])).stdout) as object[];
      expect(shapes[1]).to.deep.equal({
        name: 'b',
        path: '/b',
        type: 'file',
        size: 1536,
        created_at: '2026-01-01T00:00:00.000Z',
        modified_at: '2026-01-02T00:00:00.000Z',
        file_id: 'id-/b',
        status: 'ready',
      });
    });
  });

  it('draws a tree', async () => {
    const entries = [entry('/a', 'folder'), entry('/a/x', 'file', 1), entry('/a/y', 'folder'), entry('/b', 'file', 2)];
    await using(reading(entries), async (controller) => {
      expect((await controller.run(['fs', 'tree'])).stdout).to.equal(
        ['/', '├── a/', '│   ├── x  1 B', '│   └── y/', '└── b  2 B', '', '2 folders, 2 files', ''].join('\n'),
      );
      expect((await controller.run(['fs', 'tree', '/a'])).stdout).to.match(/^\/a\n├── x {2}1 B\n└── y\/\n/);
    });
  });

  it('moves into a folder that is there, and to a new name otherwise', async () => {
    const moves: unknown[] = [];
    const moveEntry = answer((request: { to: string }) => {
      moves.push(request);
      return { entry: entry(request.to, 'file') };
    });
    const entries = [entry('/a', 'file'), entry('/to', 'folder')];
    await using({ ...reading(entries), moveEntry }, async (controller) => {
      expect((await controller.run(['fs', 'mv', '/a', '/to'])).stdout).to.equal('/a is now /to/a\n');
      await controller.run(['fs', 'mv', '/a', '/new', '--overwrite']);
      await controller.run(['fs', 'mv', '/to', '/to']);
      expect((await controller.run(['fs', 'mv', '/none', '/to'])).exitCode).to.equal(3);
      expect(moves).to.deep.equal([
        { from: '/a', to: '/to/a', overwrite: false },
        { from: '/a', to: '/new', overwrite: true },
        { from: '/to', to: '/to', overwrite: false },
      ]);
    });
  });

  it('does what it can of several paths, and tells of each that failed', async () => {
    const removeEntry = answer(({ path }: { path: string }) => {
      if (path === '/full') throw new NexusError('failed_precondition', '/full is not empty; add -r');
      return { files: 1n, folders: 0n, bytes: 5n };
    });
    await using({ removeEntry }, async (controller) => {
      expect(await controller.run(['fs', 'rm', '/a', '/full'])).to.deep.equal({
        exitCode: 4,
        stdout: 'removed /a  1 file, 0 folders, 5 B\n',
        stderr: 'nexus: /full is not empty; add -r\n',
      });
    });
  });

  it('fails when a recount differs from the account', async () => {
    const quota = { username: 'admin', limit: 0n, used: 5n, reserved: 0n, recountedReserved: 0n };
    let recountedUsed = 5n;
    await using({ getQuota: answer(() => ({ ...quota, recountedUsed })) }, async (controller) => {
      expect(await controller.run(['fs', 'quota', '--recount'])).to.include({ exitCode: 0, stderr: '' });
      recountedUsed = 6n;
      const { exitCode, stderr } = await controller.run(['fs', 'quota', '--recount']);
      expect(exitCode).to.equal(1);
      expect(stderr).to.include('5 bytes used').and.include('add up to 6');
      const { stdout } = await controller.run(['fs', 'quota', '-o', 'json']);
      expect(JSON.parse(stdout)).to.deep.equal({ username: 'admin', limit: 0, used: 5, reserved: 0 });
    });
  });

  it('refuse an empty user instead of showing the one who asks', async () => {
    await using({}, async (controller) => {
      const { exitCode, stderr } = await controller.run(['fs', 'quota', '--user', '']);
      expect({ exitCode, stderr }).to.deep.equal({ exitCode: 2, stderr: 'nexus: --user needs the name of a user\n' });
    });
  });

  it('refuse arguments that were not UTF-8 where they would make another name', async () => {
    await using(reading([entry('/a', 'file')]), async (controller) => {
      for (const argv of [
        ['mkdir', '/bad\ufffd\ufffd'],
        ['mv', '/a', '/bad\ufffd'],
        ['upload', '-', '/bad\ufffd'],
      ]) {
        const { exitCode, stderr } = await controller.run(['fs', ...argv]);
        expect(exitCode, argv[0]).to.equal(2);
        expect(stderr, argv[0]).to.include('must be UTF-8');
      }
    });
  });

  it('say how a pipe may be called in the topmost folder, with one slash', async () => {
    await using(reading([]), async (controller) => {
      const { stderr } = await controller.run(['fs', 'upload', '-', '/']);
      expect(stderr).to.equal('nexus: / is a folder; give the name of the file: /NAME\n');
    });
  });

  describe('a folder of which not all can be stored', () => {
    /** Takes every file but those whose paths hold control characters. */
    const storing = (stored: string[]): Record<string, UntypedHandleCall> => ({
      ...reading([entry('/into', 'folder')]),
      makeFolder: answer(({ path }: { path: string }) => ({ entry: entry(path, 'folder') })),
      openFsUpload: answer(({ path }: { path: string }) => {
        const problem = 'must hold no control characters';
        if (path.includes('\t'))
          throw new NexusError('invalid_argument', `path: ${problem}`, { field: 'path', problem });
        return OpenFsUploadResponse.fromPartial({ uploadId: path });
      }),
      commitUpload: answer(({ uploadId }: { uploadId: string }) => {
        stored.push(uploadId);
        return { file: File.fromPartial({ id: uploadId, name: uploadId }) };
      }),
    });
    const uploading = async (names: readonly (string | Buffer)[], more: readonly string[] = []) => {
      const stored: string[] = [];
      await using controller = await FakeController.start(storing(stored));
      const source = join(controller.folder, 'one');
      await mkdir(source);
      for (const name of names) await writeFile(Buffer.concat([Buffer.from(`${source}/`), Buffer.from(name)]), '');
      const outcome = await controller.run(['fs', 'upload', source, '/into', ...more]);
      return { ...outcome, stored: stored.sort() };
    };

    it('stores all but a name that is not UTF-8, and tells of that one', async () => {
      const { stored, exitCode, stderr } = await uploading(['ok', Buffer.from('bad\xff', 'latin1'), 'true\ufffd']);
      expect(stored).to.deep.equal(['/into/one/ok', '/into/one/true\ufffd']);
      expect(stderr).to.equal('nexus: bad\ufffd: its name is not UTF-8, as names in the cluster are; rename it\n');
      expect(exitCode).to.equal(4);
    });

    for (const flags of [[], ['--overwrite']]) {
      it(`of two names that are one in form NFC stores the first, and names both: ${flags.join('')}`, async () => {
        const { stored, exitCode, stdout, stderr } = await uploading(['e\u0301', '\u00e9', 'z'], flags);
        expect(stored).to.deep.equal(['/into/one/e\u0301', '/into/one/z']);
        expect(stdout).to.include('2 files in 1 folder');
        expect(stderr).to.include('"\\u{e9}" and "e\\u{301}" are one name in the cluster');
        expect(exitCode).to.equal(4);
      });
    }

    it('names a file that fails alone, and does not call it wrong usage', async () => {
      const { exitCode, stderr } = await uploading(['a\tb', 'c']);
      expect(stderr).to.equal('nexus: a?b: its path must hold no control characters; rename it\n');
      expect(exitCode).to.equal(4);
      const { stderr: json } = await uploading(['a\tb', 'c'], ['-o', 'json']);
      expect(JSON.parse(json)).to.deep.include({ error: '1 of 2 failed', code: 'failed_precondition' });
      expect(json).to.include('"name":"a\\tb"');
    });
  });

  it('says of a name that the source has here, and nobody typed as PATH, that it is the wrong one', async () => {
    const wrong = ({ path }: { path: string }): unknown => {
      const problem = 'must hold no control characters';
      if (path.includes('\n')) throw new NexusError('invalid_argument', `path: ${problem}`, { field: 'path', problem });
      return { entry: entry(path, 'folder') };
    };
    const answers = { statEntry: answer(wrong), makeFolder: answer(wrong), openFsUpload: answer(wrong) };
    await using(answers, async (controller) => {
      const [file, folder] = ['a\nb', 'c\nd'].map((name) => join(controller.folder, name)) as [string, string];
      await writeFile(file, '');
      await mkdir(folder);
      const own = (name: string): string =>
        `nexus: "${name}" can't be its name in the cluster; give another one: /NAME\n`;
      expect((await controller.run(['fs', 'upload', file, '/'])).stderr).to.equal(own('a?b'));
      expect((await controller.run(['fs', 'upload', folder, '/'])).stderr).to.equal(own('c?d'));
      expect((await controller.run(['fs', 'upload', file, '/e\nf/'])).stderr).to.equal(
        'nexus: PATH: must hold no control characters\n',
      );
    });
  });

  it('says of a file that is stored that it is, also where its entry cannot be looked at afterwards', async () => {
    let isStored = false;
    const answers = {
      statEntry: answer(() => {
        throw isStored
          ? new NexusError('unavailable', 'the connection to the server broke; try again')
          : new NexusError('not_found', 'there is nothing');
      }),
      openFsUpload: answer(({ path }: { path: string }) => OpenFsUploadResponse.fromPartial({ uploadId: path })),
      commitUpload: answer(() => {
        isStored = true;
        return { file: File.fromPartial({ id: 'f1', name: 'a', status: 'ready' }) };
      }),
    };
    await using(answers, async (controller) => {
      const source = join(controller.folder, 'a');
      await writeFile(source, '');
      const { exitCode, stdout } = await controller.run(['fs', 'upload', source, '/a', '-o', 'json']);
      expect(exitCode).to.equal(0);
      expect(JSON.parse(stdout)).to.include({ path: '/a', type: 'file', file_id: 'f1', status: 'ready' });
    });
  });

  it('stores a folder with everything in it but links', async () => {
    const made: string[] = [];
    const stored: string[] = [];
    const answers = {
      ...reading([entry('/into', 'folder')]),
      makeFolder: answer(({ path }: { path: string }) => {
        made.push(path);
        return { entry: entry(path, 'folder') };
      }),
      openFsUpload: answer(({ path }: { path: string }) => OpenFsUploadResponse.fromPartial({ uploadId: path })),
      commitUpload: answer(({ uploadId }: { uploadId: string }) => {
        stored.push(uploadId);
        return { file: File.fromPartial({ id: uploadId, name: uploadId }) };
      }),
    };
    await using(answers, async (controller) => {
      const source = join(controller.folder, 'holiday');
      await mkdir(join(source, 'sub', 'empty'), { recursive: true });
      await writeFile(join(source, 'a'), '');
      await writeFile(join(source, 'sub', 'b'), '');
      await symlink('/etc/passwd', join(source, 'link'));
      const { stdout, stderr } = await controller.run(['fs', 'upload', source, '/into']);
      expect(stderr).to.equal('');
      expect(stdout).to.equal('/into/holiday  2 files in 3 folders, 0 B\nskipped link: neither file nor folder\n');
      expect(made).to.deep.equal(['/into/holiday', '/into/holiday/sub', '/into/holiday/sub/empty']);
      expect(stored.sort()).to.deep.equal(['/into/holiday/a', '/into/holiday/sub/b']);
    });
  });

  it('of a folder that is fetched names the file that fails alone', async () => {
    const answers = {
      ...reading([entry('/a', 'folder'), entry('/a/x', 'file'), entry('/a/y', 'file')]),
      openFsDownload: answer(({ path }: { path: string }) => {
        if (path === '/a/x') throw new NexusError('data_loss', 'a chunk of it is lost');
        return { file: File.fromPartial({ id: 'f' }), leaseId: path };
      }),
      closeFsDownload: answer(() => ({})),
    };
    await using(answers, async (controller) => {
      const outcome = await controller.run(['fs', 'download', '/a', join(controller.folder, 'out')]);
      expect(outcome).to.include({ exitCode: 1, stderr: 'nexus: /a/x: a chunk of it is lost\n' });
      expect(outcome.stdout).to.include('1 file in 1 folder');
    });
  });

  it('fetches a folder, gives every lease back, and refuses names that lead elsewhere', async () => {
    const leases = new Set<string>();
    const answers = (entries: readonly FsEntry[]): Record<string, UntypedHandleCall> => ({
      ...reading(entries),
      openFsDownload: answer(({ path }: { path: string }) => {
        leases.add(path);
        return { file: File.fromPartial({ id: 'f' }), leaseId: path };
      }),
      closeFsDownload: answer(({ leaseId }: { leaseId: string }) => {
        leases.delete(leaseId);
        return {};
      }),
    });
    const entries = [entry('/a', 'folder'), entry('/a/x', 'file'), entry('/a/y', 'folder'), entry('/a/y/z', 'file')];
    await using(answers(entries), async (controller) => {
      const dest = join(controller.folder, 'out');
      const outcome = await controller.run(['fs', 'download', '/a', dest]);
      expect(outcome).to.deep.equal({ exitCode: 0, stdout: `${dest}  2 files in 2 folders, 0 B\n`, stderr: '' });
      expect((await readdir(dest, { recursive: true })).sort()).to.deep.equal(['x', 'y', 'y/z']);
      expect([...leases]).to.deep.equal([]);
      await controller.run(['fs', 'download', '/a', dest]);
      expect(await readdir(join(dest, 'a'))).to.have.members(['x', 'y']);
      expect(await controller.run(['fs', 'download', '/a', '-'])).to.include({ exitCode: 2 });
      expect(await controller.run(['fs', 'download', '/a', join(dest, 'x')])).to.include({ exitCode: 4 });
    });
    await using(answers([entry('/a', 'folder'), entry('/a/../../evil', 'file')]), async (controller) => {
      const dest = join(controller.folder, 'deep', 'out');
      const outcome = await controller.run(['fs', 'download', '/a', dest]);
      expect(outcome.exitCode).to.equal(1);
      expect(outcome.stderr).to.include("can't be a file's name");
      expect(await readdir(controller.folder)).to.deep.equal(['admin.sock']);
    });
  });
});
