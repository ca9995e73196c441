/** Where downloads and exports are written: what is refused, with which code, and who may read the result. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServerWritableStream, UntypedHandleCall } from '@grpc/grpc-js';
import { expect } from 'chai';
import { FileDestination } from '../../cli/local/destination.js';
import {
  RebuildSummary,
  type ExportStateResponse,
  type RebuildStateResponse,
} from '../../shared/gen/nexus/v1/state.js';
import { errorOf } from '../support/codes.js';
import { FakeController } from '../support/fake-controller.js';

const CALLER = { signal: new AbortController().signal, streams: { env: {} } };

describe('a destination', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nexus-destination-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('in a folder that does not exist is not found', async () => {
    await writeFile(join(folder, 'file'), '');
    for (const path of ['none/x', 'none/', 'file/x']) {
      const error = await errorOf(() => FileDestination.open(join(folder, path), 'name', CALLER));
      expect(error, path).to.include({ code: 'not_found' });
      expect(error.message, path).to.include('its folder does not exist');
    }
    expect(await readdir(folder)).to.deep.equal(['file']);
  });

  it('whose name a folder has is refused before anything is fetched', async () => {
    await mkdir(join(folder, 'name'));
    const error = await errorOf(() => FileDestination.open(folder, 'name', CALLER));
    expect(error).to.include({ code: 'already_exists' });
    expect(error.message).to.include(join(folder, 'name')).and.include('it is a folder');
    expect(await readdir(folder)).to.deep.equal(['name']);
  });
});

describe('nexus state', () => {
  it('exports into a file that others cannot read, also over one that they can', async () => {
    const exportState = ((call: ServerWritableStream<unknown, ExportStateResponse>) => {
      call.write({ data: Buffer.from('{}') });
      call.end();
    }) as UntypedHandleCall;
    await using controller = await FakeController.start({ exportState });
    const path = join(controller.folder, 'backup.json');
    await writeFile(path, 'old', { mode: 0o644 });
    expect(await controller.run(['state', 'export', path])).to.include({ exitCode: 0, stderr: '' });
    expect(await readFile(path, 'utf8')).to.equal('{}');
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
  });

  it('says of a planned rebuild with nodes to adopt that files are not known yet', async () => {
    const textOf = async (nodes: string[]): Promise<string> => {
      const rebuildState = ((call: ServerWritableStream<unknown, RebuildStateResponse>) => {
        call.write({ summary: RebuildSummary.fromPartial({ nodes }) });
        call.end();
      }) as UntypedHandleCall;
      await using controller = await FakeController.start({ rebuildState });
      return (await controller.run(['state', 'rebuild', '--plan'])).stdout;
    };
    expect(await textOf(['a'])).to.equal('nodes that would be adopted: a\nno files are known yet\n');
    expect(await textOf([])).to.equal('no nodes would be adopted\nno files would be put together\n');
  });
});
