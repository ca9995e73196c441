/** Interrupted commands, each as a process of its own that gets a real signal. */
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { sendUnaryData, ServerReadableStream, ServerUnaryCall, UntypedHandleCall } from '@grpc/grpc-js';
import { expect } from 'chai';
import { File, GrantChunksResponse, OpenUploadResponse } from '../../shared/gen/nexus/v1/file.js';
import { FsEntry, OpenFsUploadResponse } from '../../shared/gen/nexus/v1/fs.js';
import { ImportImageResponse } from '../../shared/gen/nexus/v1/image.js';
import { CHUNK_SIZE_BYTES, MIB } from '../../shared/limits.js';
import { cliBundle } from '../support/bundles.js';
import { eventually } from '../support/cluster.js';
import { FakeAgent, md5Of } from '../support/fake-agent.js';
import { FakeController } from '../support/fake-controller.js';

const EXIT_CODES = [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGQUIT', 131],
  ['SIGTERM', 143],
] as const;

const replying =
  (reply: unknown, called: () => void = () => undefined): UntypedHandleCall =>
  (_call: ServerUnaryCall<unknown, unknown>, done: sendUnaryData<unknown>) => {
    called();
    done(null, reply);
  };

/** A handler that never answers: the command waits for it until it is interrupted. */
const silent =
  (called: () => void): UntypedHandleCall =>
  (call: { on(event: 'error' | 'data', listener: () => void): void }) => {
    call.on('error', () => undefined);
    call.on('data', () => undefined);
    called();
  };

/** A promise, and what resolves it. */
function signalled(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

describe('an interrupted command', function () {
  this.timeout(180_000);
  const started: ChildProcessWithoutNullStreams[] = [];
  let agent: FakeAgent;
  let program: string;
  before(async () => {
    program = await cliBundle();
  });
  beforeEach(async () => {
    agent = await FakeAgent.start('one');
  });
  afterEach(async () => {
    for (const child of started.splice(0)) child.kill('SIGKILL');
    await agent.stop();
  });

  const start = (controller: FakeController, words: string): ChildProcessWithoutNullStreams => {
    const child = spawn(process.execPath, [program, ...words.split(' ')], {
      env: { ...process.env, ...controller.env },
    });
    child.stdin.on('error', () => undefined);
    started.push(child);
    return child;
  };

  const interrupt = async (
    child: ChildProcessWithoutNullStreams,
    signal: NodeJS.Signals,
  ): Promise<{ code: unknown; stderr: string }> => {
    const exited = once(child, 'exit');
    child.kill(signal);
    const [stderr, [code]] = await Promise.all([text(child.stderr), exited as Promise<unknown[]>]);
    return { code, stderr };
  };

  const interruptWaiting = async (
    method: string,
    words: string,
    signal: NodeJS.Signals,
  ): Promise<{ code: unknown; stderr: string }> => {
    const { promise: waiting, resolve } = signalled();
    await using controller = await FakeController.start({ [method]: silent(resolve) });
    const child = start(controller, words);
    await waiting;
    return await interrupt(child, signal);
  };

  for (const [signal, exitCode] of EXIT_CODES) {
    it(`exits with ${exitCode} after ${signal}`, async () => {
      const { code, stderr } = await interruptWaiting('createNode', 'node create a --storage 1G', signal);
      expect(code).to.equal(exitCode);
      expect(stderr).to.match(/^nexus: interrupted[^\n]*\n$/);
    });
  }

  for (const [method, words] of [
    ['watchEvents', 'events -f'],
    ['getNodeLogs', 'node logs a -f'],
    ['removeNode', 'node rm a b c'],
    ['openUpload', 'file upload -'],
    ['getFile', 'file download f1 -'],
    ['importImage', 'image import a -'],
    ['buildImage', 'image build'],
  ] as const) {
    it(`nexus ${words} exits with 130 after Ctrl-C, with one line at most`, async () => {
      const { code, stderr } = await interruptWaiting(method, words, 'SIGINT');
      expect(code).to.equal(130);
      expect(stderr).to.match(/^(nexus: [^\n]*interrupted[^\n]*\n)?$/);
    });
  }

  it('ends though nothing comes from the pipe that is its settings file, for any signal', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'nexus-config-'));
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    // Its writer is there once the command has it open, and gives nothing.
    for (const [signal, exitCode] of EXIT_CODES) {
      await using controller = await FakeController.start({});
      const child = start(controller, `--config ${pipe} node ls`);
      const writer = await open(pipe, 'w');
      expect(await interrupt(child, signal)).to.deep.equal({
        code: exitCode,
        stderr: `nexus: interrupted by ${signal}\n`,
      });
      await writer.close();
    }
    await rm(folder, { recursive: true });
  });

  it('ends though nothing comes on its standard input, and aborts the upload', async () => {
    const sent = signalled();
    const aborted = signalled();
    agent.misbehave = () => {
      sent.resolve();
      return false;
    };
    await using controller = await FakeController.start({
      openUpload: replying(OpenUploadResponse.fromPartial({ uploadId: 'u1' })),
      grantChunks: replying(
        GrantChunksResponse.fromPartial({ grants: [{ index: 0, chunkId: 'c1', targets: [agent.target] }] }),
      ),
      abortUpload: replying({}, aborted.resolve),
    });
    const child = start(controller, 'file upload -');
    // A whole chunk and no end: while it is sent, the command waits for the next.
    child.stdin.write(Buffer.alloc(CHUNK_SIZE_BYTES));
    await Promise.race([sent.promise, once(child, 'exit')]);
    expect((await interrupt(child, 'SIGTERM')).code).to.equal(143);
    await aborted.promise;
  });

  it('tells of a folder how much is stored, also what was being published at that moment', async () => {
    const publishing = signalled();
    const published = signalled();
    const waiting = signalled();
    const interrupted = signalled();
    const entryOf = ({ path = '/' }: { path?: string }) => ({ entry: FsEntry.fromPartial({ path, name: 'x' }) });
    const handlers: Record<string, UntypedHandleCall> = {
      statEntry: ((call: { request: { path: string } }, done: sendUnaryData<object>) => {
        const isThere = call.request.path === '/into';
        if (isThere) done(null, { entry: FsEntry.fromPartial({ path: '/into', name: 'into', type: 'folder' }) });
        else done({ code: 5, details: 'nothing there' });
      }) as UntypedHandleCall,
      makeFolder: ((call: { request: { path: string } }, done: sendUnaryData<object>) => {
        done(null, entryOf(call.request));
      }) as UntypedHandleCall,
      openFsUpload: ((call: { request: { path: string } }, done: sendUnaryData<object>) => {
        if (call.request.path.endsWith('/c')) waiting.resolve();
        else done(null, OpenFsUploadResponse.fromPartial({ uploadId: call.request.path }));
      }) as UntypedHandleCall,
      commitUpload: ((call: { request: { uploadId: string } }, done: sendUnaryData<object>) => {
        const file = File.fromPartial({ id: call.request.uploadId, name: 'x' });
        if (!call.request.uploadId.endsWith('/a')) {
          done(null, { file });
          published.resolve();
          return;
        }
        publishing.resolve();
        void interrupted.promise.then(() => {
          done(null, { file });
        });
      }) as UntypedHandleCall,
    };
    await using controller = await FakeController.start(handlers);
    const source = join(controller.folder, 'holiday');
    await mkdir(source);
    for (const name of ['a', 'b', 'c']) await writeFile(join(source, name), '');
    const child = start(controller, `fs upload ${source} /into`);
    await Promise.race([Promise.all([publishing.promise, published.promise, waiting.promise]), once(child, 'exit')]);
    setTimeout(interrupted.resolve, 500);
    expect(await interrupt(child, 'SIGINT')).to.deep.equal({
      code: 130,
      stderr: 'nexus: interrupted: 2 of 3 are done; these and the folders stay, and the others are not stored\n',
    });
  });

  it('ends though nobody reads its standard output', async () => {
    const content = Buffer.alloc(4 * MIB);
    agent.chunks.set('c1', content);
    const chunk = {
      index: 0,
      offset: 0n,
      chunkId: 'c1',
      size: content.length,
      md5: md5Of(content),
      replicas: [agent.target],
    };
    const file = File.fromPartial({ id: 'f1', name: 'data', size: BigInt(content.length), chunksCount: 1 });
    await using controller = await FakeController.start({
      getFile: replying({ file }),
      openDownload: replying({ file, chunkSize: CHUNK_SIZE_BYTES, chunks: [chunk] }),
    });
    const child = start(controller, 'file download f1 -');
    await once(child.stdout, 'readable');
    expect(await interrupt(child, 'SIGINT')).to.deep.equal({ code: 130, stderr: 'nexus: interrupted by SIGINT\n' });
  });

  for (const words of [
    'file upload FIFO',
    'fs upload FIFO /x',
    'image import a FIFO',
    'lambda run FIFO',
    'state import FIFO',
    'file download f1 FIFO',
    'state export FIFO',
  ]) {
    it(`nexus ${words} ends by a signal though nobody comes to the named pipe`, async () => {
      await using fifo = await namedPipe();
      const asked = signalled();
      await using controller = await FakeController.start({
        getFile: replying({ file: File.fromPartial({ id: 'f1', name: 'data', chunksCount: 1 }) }, asked.resolve),
        openUpload: silent(asked.resolve),
        statEntry: silent(asked.resolve),
        importImage: silent(asked.resolve),
        importState: silent(asked.resolve),
        exportState: silent(() => undefined),
      });
      const child = start(controller, words.replace('FIFO', fifo.path));
      const loaded = once(child, 'exit').then(() => 'ended');
      // These open the pipe before they ask anything.
      const isReady = /lambda|export/.test(words) ? isWaiting(child.pid ?? 0) : asked.promise;
      await Promise.race([isReady, loaded]);
      expect((await interrupt(child, 'SIGTERM')).code).to.equal(143);
    });
  }

  for (const words of [
    'login http://127.0.0.1:1 --user alice --ca-file FIFO',
    'user create bob --email bob@example.org --password-file FIFO',
    '--config FIFO status',
  ]) {
    it(`nexus ${words} ends by a signal though nobody comes to the named pipe`, async () => {
      await using fifo = await namedPipe();
      await using controller = await FakeController.start({});
      const child = start(controller, words.replace('FIFO', fifo.path));
      const ended = once(child, 'exit');
      await Promise.race([isWaiting(child.pid ?? 0), ended]);
      const { code, stderr } = await interrupt(child, 'SIGTERM');
      // Settings are needed before anything can be waited for: the signal is seen when their time is up.
      if (words.startsWith('--config')) expect([5, 143]).to.include(code);
      else expect({ code, stderr }).to.deep.equal({ code: 143, stderr: 'nexus: interrupted by SIGTERM\n' });
    });
  }

  it('reads a named pipe whose writer comes later, as cat would', async () => {
    await using fifo = await namedPipe();
    const asked = signalled();
    let received = '';
    await using controller = await FakeController.start({
      importImage: (call: ServerReadableStream<{ data?: Buffer }, unknown>, done: sendUnaryData<unknown>) => {
        asked.resolve();
        call.on('data', ({ data }: { data?: Buffer }) => (received += data?.toString() ?? ''));
        call.on('end', () => {
          done(null, ImportImageResponse.fromPartial({ image: { name: 'a' } }));
        });
      },
    });
    const child = start(controller, `image import a ${fifo.path}`);
    const ended = Promise.all([text(child.stderr), once(child, 'exit') as Promise<unknown[]>]);
    await Promise.race([asked.promise, ended]);
    await writeFile(fifo.path, 'an archive');
    const [stderr, [code]] = await ended;
    expect({ code, received, stderr }).to.deep.equal({ code: 0, received: 'an archive', stderr: '' });
  });

  it('refuses a device plainly', async () => {
    await using controller = await FakeController.start({});
    const child = start(controller, 'file upload /dev/zero');
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit') as Promise<unknown[]>]);
    expect(code).to.equal(2);
    expect(stderr).to.match(/^nexus: \/dev\/zero is neither file nor pipe; .*\n$/);
  });

  it('waits no more than seconds for settings from a named pipe that nobody writes to', async () => {
    await using fifo = await namedPipe();
    await using controller = await FakeController.start({});
    const child = start(controller, `--config ${fifo.path} status`);
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit') as Promise<unknown[]>]);
    expect(code).to.equal(5);
    expect(stderr).to.include('gave nothing within 5 s');
  });
});

async function namedPipe(): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'nexus-fifo-'));
  const path = join(folder, 'p');
  execFileSync('mkfifo', [path]);
  return { path, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

/** It has set its signals, as /proc shows, and is past its start. */
async function isWaiting(pid: number): Promise<void> {
  const caught = (): boolean => {
    const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
    // SIGHUP: Node itself does not catch it.
    return (BigInt(`0x${mask}`) & 1n) === 1n;
  };
  await eventually(caught, (is) => is);
}
