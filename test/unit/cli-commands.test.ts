import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { ServerDuplexStream, ServerWritableStream, UntypedHandleCall } from '@grpc/grpc-js';
import { expect } from 'chai';
import { parse } from 'yaml';
import type { z } from 'zod';
import { ALIASES } from '../../cli/runner/aliases.js';
import { FLAG_HINTS } from '../../cli/runner/flag-hints.js';
import { isGroup, type Group, type Leaf } from '../../cli/runner/command-group.js';
import { COMMANDS } from '../../cli/runner/command-tree.js';
import { namedError } from '../../cli/runner/several.js';
import { createNodeSchema, resizeNodeSchema } from '../../controller/edge/services/node/schemas.js';
import { parseRequest } from '../../controller/edge/validate.js';
import { NexusError } from '../../shared/errors.js';
import { GetStatusResponse, type WatchEventsResponse } from '../../shared/gen/nexus/v1/cluster.js';
import { File } from '../../shared/gen/nexus/v1/file.js';
import {
  DrainNodeResponse,
  Node,
  type CreateNodeRequest,
  type ExecInNodeRequest,
  type ExecInNodeResponse,
  type RemoveNodeRequest,
} from '../../shared/gen/nexus/v1/node.js';
import { GIB } from '../../shared/limits.js';
import { statusOf } from '../../shared/rpc/status.js';
import { cliBundle } from '../support/bundles.js';
import { answer, FakeController, runNexus } from '../support/fake-controller.js';

const NODE = Node.fromPartial({
  id: '0123456789ab',
  name: 'web-1',
  status: 'Running',
  ip: '10.0.42.2',
  memoryMb: 256,
  cpuShares: 512,
  storageSize: BigInt(GIB),
  image: 'base',
  labels: { keepThis: 'asIs' },
  createdAt: '2026-01-01T00:00:00.000Z',
});

/** A text tells of commands as `nexus WORDS`, which end at capitals, flags and stops. */
const commandsIn = (text: string): string[][] =>
  [...text.matchAll(/\bnexus((?: [a-z][a-z-]*)+)/g)].map(([, words = '']) => words.trim().split(' '));

/** How much of it leads down the tree: a command whole, of anything else only what is there. */
function leadsTo(words: readonly string[]): string {
  let entry: Group | Leaf = COMMANDS;
  for (const word of words) {
    if (!isGroup(entry)) return 'command';
    if (!Object.hasOwn(entry.children, word)) return 'nothing';
    entry = entry.children[word] as Group | Leaf;
  }
  return isGroup(entry) ? 'group' : 'command';
}

describe('words of other tools', () => {
  it('lead to commands that there are, and so do the refusals', () => {
    const texts = Object.values(FLAG_HINTS).flatMap((hints) => Object.values(hints));
    for (const [way, words] of Object.entries(ALIASES)) {
      for (const [word, meant] of Object.entries(words)) {
        if (typeof meant === 'string') texts.push(meant);
        // Behind a verb, which is no command itself, the whole way is told; elsewhere what goes on from there.
        else if (meant.length > 0) {
          const before = way === '' || leadsTo([way]) === 'nothing' ? [] : [way];
          expect(leadsTo([...before, ...meant]), `${way} ${word}`).not.to.equal('nothing');
        }
      }
    }
    for (const words of texts.flatMap(commandsIn)) expect(leadsTo(words), words.join(' ')).not.to.equal('nothing');
    expect(texts.flatMap(commandsIn)).to.have.length.greaterThan(50);
  });
});

describe('wrong command lines', () => {
  const cases: readonly (readonly [line: string, said: RegExp])[] = [
    ['node create web-1 --storage 1G --imgae x', /unknown flag --imgae; did you mean --image\?/],
    ['node create web-1 --storage 1G -z', /unknown flag -z/],
    ['node create --storage 1G', /needs NAME/],
    ['node create --memry 1G a', /unknown flag --memry; did you mean --mem\?/],
    ['user create', /needs NAME and --email ADDRESS; see nexus user create --help/],
    ['node logs a b', /does not take "b"/],
    ['node exec', /needs NODE and a COMMAND \[ARGUMENT...\] after "--"/],
    ['stop', /nexus node stop needs NODES/],
    ['describe node', /nexus node inspect needs NODES/],
    ['get pods', /unknown command "nexus get pods"; containers are nodes here: nexus node ls lists them/],
    ['get cows', /unknown command "nexus get cows"; get needs one of: nodes, node, files/],
    ['describe web-1', /unknown command "nexus describe web-1"; describe needs one of: node, /],
    ['apply -f x.yaml', /nexus node create NAME/],
    ['scale web --replicas 3', /nexus node resize NODE/],
    ['pull alpine', /nexus image import NAME TARBALL/],
    ['config view', /nexus\.yaml/],
    ['volume ls', /nexus node create NAME --storage SIZE/],
    ['network ls', /nexus node ls/],
    ['node rename a b', /nexus fs mv FROM TO/],
    ['system prune', /nexus image rm/],
    ['node ls -a', /unknown flag -a; stopped nodes are always listed/],
    ['node ls -q', /unknown flag -q; for scripts: -o json/],
    ['ps -q', /unknown flag -q; for scripts: -o json/],
    ['node ls -o wide', /--output can't be "wide"; a table has all columns that fit/],
    ['node ls --format {{.Names}}', /--output can't be "{{\.Names}}"; give one of table, json, yaml/],
    ['node create -d web', /unknown flag -d; a node always runs in the background/],
    ['run web', /unknown command "nexus run"; nexus node create NAME makes a node/],
    ['node shell a', /a shell is: nexus node exec -it NODE -- sh/],
    ['fs cp a b', /nexus fs upload SRC PATH/],
    // Two letters of which one differs are two words.
    ['fq', /unknown command "nexus fq"; see nexus --help/],
    ['node create web-1 --storage', /--storage needs a value/],
    ['node create web-1 --storage 1Q', /"Q" is not a unit/],
    ['node create web-1 --storage 1G --mem 0', /--mem can't be "0"/],
    ['node ls --output xml', /give one of table, json, yaml/],
    ['node ls --no-color', /unknown flag --no-color/],
    ['node crate x', /did you mean "create"\?/],
    ['nodess', /did you mean "node"\?/],
    ['node', /needs a command/],
    ['node rm', /needs NODES/],
    ['node exec web-1', /after "--"/],
    ['node create web-1 --storage 1G --pids 0', /--pids can't be "0"; give a whole number from 32 to 1000000/],
    ['node resize web-1 --pids 31', /from 32/],
    ['node resize web-1', /nothing to change; give at least one of --mem, --cpu and --pids/],
    [
      '--config /nonexistent.yaml node ls',
      /^nexus: settings file \/nonexistent.yaml: there is no such file; name another/,
    ],
    ['--config /dev node ls', /it is a folder/],
    ['up --foreground=yes', /takes no value/],
    ['--instance Not_Valid node ls', /setting instance/],
  ];
  for (const [line, said] of cases) {
    it(`nexus ${line}`, async () => {
      const { exitCode, stdout, stderr } = await runNexus(line.split(' '));
      expect(exitCode).to.equal(2);
      expect(stdout).to.equal('');
      expect(stderr)
        .to.match(/^nexus: [^\n]+\n$/)
        .and.match(said);
    });
  }

  it('are told as JSON where JSON was asked for', async () => {
    const { exitCode, stderr } = await runNexus(['node', 'ls', '-o', 'json', '--wrong']);
    expect(exitCode).to.equal(2);
    expect(JSON.parse(stderr)).to.deep.include({ code: 'invalid_argument', details: {} });
  });
});

describe('standard input', function () {
  /** A process of its own, whose standard input is that place. */
  const sendFrom = async (place: string, words: string): Promise<{ code: unknown; stderr: string }> => {
    const silent = ((call: { on(event: string, listener: () => void): void }) => {
      call.on('error', () => undefined);
      call.on('data', () => undefined);
    }) as unknown as UntypedHandleCall;
    await using controller = await FakeController.start({ importImage: silent, importState: silent });
    await using opened = await open(place);
    const child = spawn(process.execPath, [await cliBundle(), ...words.split(' ')], {
      env: { ...process.env, ...controller.env },
      stdio: [opened.fd, 'ignore', 'pipe'],
    });
    const [stderr, [code]] = await Promise.all([
      text(child.stderr as Readable),
      once(child, 'exit') as Promise<unknown[]>,
    ]);
    return { code, stderr };
  };

  for (const words of ['image import a -', 'state import -', 'file upload -']) {
    it(`that is a folder is refused: nexus ${words}`, async () => {
      const { code, stderr } = await sendFrom('/', words);
      expect(stderr).to.match(/^nexus: standard input is a folder; give a file, or a pipe: [^\n]+\n$/);
      expect(code).to.equal(2);
    });
  }

  for (const words of ['image import a -', 'state import -']) {
    it(`that can't be read is told in our words: nexus ${words}`, async () => {
      // Nothing is mapped at address 0.
      const { code, stderr } = await sendFrom('/proc/self/mem', words);
      expect(stderr).to.equal(
        'nexus: cannot read standard input: the device reports an error; give a file that can be read to its end\n',
      );
      expect(code).not.to.equal(0);
    });
  }
});

describe('help', () => {
  const lines = (group: Group, words: string[]): string[][] =>
    Object.entries(group.children).flatMap(([name, entry]) =>
      isGroup(entry) ? [[...words, name], ...lines(entry, [...words, name])] : [[...words, name]],
    );

  for (const words of lines(COMMANDS, [])) {
    it(`of nexus ${words.join(' ')}`, async () => {
      const { exitCode, stdout, stderr } = await runNexus([...words, '--help']);
      expect({ exitCode, stderr }).to.deep.equal({ exitCode: 0, stderr: '' });
      expect(stdout)
        .to.include(`Usage: nexus ${words.join(' ')}`)
        .and.include('--output table|json|yaml');
    });
  }

  it('names the variable of each global flag that has one', async () => {
    const { stdout } = await runNexus(['--help']);
    for (const flag of ['instance', 'url', 'config'])
      expect(stdout).to.match(new RegExp(`--${flag} [A-Z]+ .*NEXUS_${flag.toUpperCase()}\\b`));
  });

  it('is what nexus alone prints, and --version prints one line', async () => {
    expect((await runNexus([])).stdout).to.include('Commands:');
    expect((await runNexus(['--version'])).stdout).to.match(/^nexus \d+\.\d+\.\d+\n$/);
  });
});

describe('commands', () => {
  const using = async (
    answers: Readonly<Record<string, UntypedHandleCall>>,
    body: (controller: FakeController) => Promise<void>,
  ): Promise<void> => {
    await using controller = await FakeController.start(answers);
    await body(controller);
  };

  it('send what was typed, in the units of the contract', async () => {
    let got: CreateNodeRequest | undefined;
    const createNode = answer((request: CreateNodeRequest) => {
      got = request;
      return { node: NODE };
    });
    await using({ createNode }, async (controller) => {
      const line = 'node create web-1 --mem 1G --cpu=700 --storage 2G --label a=1 --label b=2';
      expect(await controller.run(line.split(' '))).to.include({ exitCode: 0, stderr: '' });
      expect(got).to.deep.equal({
        name: 'web-1',
        memoryMb: 1024,
        cpuShares: 700,
        storageSize: BigInt(2 * GIB),
        image: '',
        labels: { a: '1', b: '2' },
        pidsLimit: 0,
      });
    });
  });

  it('print lists as a bare array in the promised shape, wherever the flag stands', async () => {
    await using({ listNodes: answer(() => ({ nodes: [NODE] })) }, async (controller) => {
      for (const line of ['-o json node ls', 'node --output json ls', 'node ls -ojson', 'node ls --output=yaml']) {
        const { stdout } = await controller.run(line.split(' '));
        const [node] = (line.includes('yaml') ? parse(stdout) : JSON.parse(stdout)) as Record<string, unknown>[];
        expect(node).to.deep.include({
          id: '0123456789ab',
          name: 'web-1',
          status: 'Running',
          ip: '10.0.42.2',
          memory_mb: 256,
          cpu_shares: 512,
          storage_size: GIB,
          image: 'base',
          labels: { keepThis: 'asIs' },
          created_at: '2026-01-01T00:00:00.000Z',
        });
      }
    });
  });

  it('print tables without colour or control characters when the output is no terminal', async () => {
    const node = { ...NODE, status: 'Failed', statusReason: 'boom\u001b[31m' };
    await using({ listNodes: answer(() => ({ nodes: [node] })) }, async (controller) => {
      const { stdout } = await controller.run(['node', 'ls']);
      expect(stdout)
        .to.match(/^NAME +ID +STATUS +IP +MEM +CPU +STORAGE +AGE +REASON\n/)
        .and.include('boom?[31m');
      // eslint-disable-next-line no-control-regex
      expect(stdout).not.to.match(/[\u0000-\u0009\u000b-\u001f]/);
    });
  });

  for (const [code, exit] of [
    ['not_found', 3],
    ['already_exists', 4],
    ['resource_exhausted', 4],
    ['unavailable', 5],
    ['internal', 1],
  ] as const) {
    it(`exit with ${exit} when the controller answers ${code}`, async () => {
      const getNode = answer(() => {
        throw new NexusError(code, 'what happened; what to do', { node: 'x' });
      });
      await using({ getNode }, async (controller) => {
        const { exitCode, stderr } = await controller.run(['node', 'inspect', 'x', '-o', 'json']);
        expect(exitCode).to.equal(exit);
        expect(JSON.parse(stderr)).to.deep.equal({ error: 'what happened; what to do', code, details: { node: 'x' } });
      });
    });
  }

  it('say how to start the controller when there is none', async () => {
    const outcome = await runNexus(['node', 'ls'], {
      NEXUS_SOCKET: '/nonexistent/nexus.sock',
      NEXUS_RUNTIME: 'process',
    });
    expect(outcome).to.include({ exitCode: 5, stdout: '' });
    expect(outcome.stderr).to.match(/is not running; start it with: nexus up/);
  });

  it('are known by the words of docker, kubectl and incus', async () => {
    const node = (name: string) => ({ ...NODE, name, id: `id-${name}` });
    const asked: string[] = [];
    const one = answer(({ node: name }: { node: string }) => {
      asked.push(name);
      if (name === 'none') throw new NexusError('not_found', 'there is no node "none"');
      return { node: node(name) };
    });
    const created: { name: string; memoryMb: number; storageSize: bigint }[] = [];
    const createNode = answer((request: { name: string; memoryMb: number; storageSize: bigint }) => {
      created.push(request);
      return { node: node(request.name) };
    });
    const listNodes = answer(() => ({ nodes: [node('a')] }));
    await using({ listNodes, createNode, stopNode: one, getNode: one }, async (controller) => {
      for (const line of [
        'ps',
        'node list',
        'get nodes',
        'nodes',
        'container ls',
        '-o table node ps',
        'ps --format table',
      ])
        expect((await controller.run(line.split(' '))).stdout, line).to.match(/^NAME +ID/);
      const shown = await controller.run(['get', 'node', 'a', '--format', 'json']);
      expect(JSON.parse(shown.stdout)).to.include({ id: 'id-a' });
      const stopped = await controller.run(['stop', 'a', 'none', 'b']);
      expect(stopped).to.deep.equal({
        exitCode: 3,
        stdout: 'node a is Running\nnode b is Running\n',
        stderr: 'nexus: there is no node "none"\n',
      });
      const several = JSON.parse((await controller.run(['-o', 'json', 'inspect', 'a', 'b'])).stdout) as object[];
      expect(several).to.have.length(2);
      const single = JSON.parse((await controller.run(['-o', 'json', 'node', 'describe', 'a'])).stdout) as object;
      expect(single).to.include({ id: 'id-a' });
      const made = await controller.run(['node', 'create', 'x', 'y', '--memory', '256', '--disk', '2G']);
      expect(made).to.include({ exitCode: 0, stderr: '' });
      expect(created.map(({ name, memoryMb, storageSize }) => [name, memoryMb, storageSize])).to.have.deep.members([
        ['x', 256, 2n * BigInt(GIB)],
        ['y', 256, 2n * BigInt(GIB)],
      ]);
      await controller.run(['node', 'create', 'z']);
      // The controller knows the default.
      expect(created.at(-1)).to.include({ storageSize: 0n });
    });
  });

  it('take the command of exec without dashes too, and hand on its flags', async () => {
    const commands: string[][] = [];
    const execInNode = (call: ServerDuplexStream<ExecInNodeRequest, ExecInNodeResponse>): void => {
      call.on('data', ({ start }: ExecInNodeRequest) => {
        if (start === undefined) return;
        commands.push(start.command);
        call.write({ exitCode: 0 });
        call.end();
      });
    };
    await using({ execInNode }, async (controller) => {
      await controller.run(['exec', 'web', 'ls', '-l', '--', '/x']);
      await controller.run(['node', 'exec', '-i', 'web', '--', 'ls', '-l']);
      expect(commands).to.deep.equal([
        ['ls', '-l', '--', '/x'],
        ['ls', '-l'],
      ]);
    });
  });

  it('name the files that a forced removal of a node cost', async () => {
    const lost = ['w', 'x', 'y', 'z'].map((id) => ({ id, name: `${id}.bin`, owner: 'ada' }));
    const removeNode = answer(() => ({ id: 'n', name: 'n', lostFiles: lost.map(({ id }) => id), lost }));
    await using({ removeNode }, async (controller) => {
      const { stdout } = await controller.run(['node', 'rm', '--force', 'n']);
      expect(stdout).to.equal(
        'removed node n; 4 file(s) lost parts of theirs: w.bin (w), x.bin (x), y.bin (y), and 1 more; nexus file ls --lost lists them\n',
      );
    });
  });

  it('mark files that cannot be read whole, and list those that are lost', async () => {
    const file = (id: string, status: string) => ({
      id,
      name: `${id}.bin`,
      size: 5n,
      chunksCount: 1,
      replicas: 1,
      owner: 'ada',
      status,
      createdAt: '2026-01-01T00:00:00.000Z',
    });
    const asked: string[][] = [];
    const listFiles = answer(({ statuses, pageToken }: { statuses: string[]; pageToken: string }) => {
      asked.push(statuses);
      // A page may be empty and not be the last.
      if (statuses.length > 0 && pageToken === '') return { files: [], nextPageToken: 'more' };
      return { files: [file('a', 'ready'), file('b', 'lost')], nextPageToken: '' };
    });
    const getFile = answer(() => ({ file: file('b', 'lost') }));
    await using({ listFiles, getFile }, async (controller) => {
      const { stdout } = await controller.run(['file', 'ls']);
      expect(stdout)
        .to.match(/NAME +STATUS/)
        .and.match(/b\.bin +lost/);
      await controller.run(['file', 'ls', '--lost']);
      await controller.run(['file', 'ls', '--status', 'unavailable,ready']);
      expect(asked).to.deep.equal([
        [],
        ['lost', 'damaged', 'partial'],
        ['lost', 'damaged', 'partial'],
        ['unavailable', 'ready'],
        ['unavailable', 'ready'],
      ]);
      const wrong = await controller.run(['file', 'ls', '--status', 'gone']);
      expect(wrong).to.include({ exitCode: 2 });
      expect(wrong.stderr).to.match(/--status gone: must be one of ready, unavailable, partial, damaged, lost/);
      expect((await controller.run(['file', 'stat', 'b'])).stdout).to.match(
        /status: +lost {2}\(some chunk has no copy/,
      );
    });
  });

  it('remove what they can of several nodes, and tell of each that failed', async () => {
    const removeNode = answer(({ node }: { node: string }) => {
      if (node === 'b') throw new NexusError('failed_precondition', 'node b holds the only copy of a file');
      if (node === 'd') throw new NexusError('not_found', 'there is no node "d"');
      return { id: `id-${node}`, name: node, lostFiles: [], lost: [] };
    });
    await using({ removeNode }, async (controller) => {
      const one = await controller.run(['node', 'rm', 'a', 'b', 'c']);
      expect(one).to.deep.equal({
        exitCode: 4,
        stdout: 'removed node a\nremoved node c\n',
        stderr: 'nexus: node b holds the only copy of a file\n',
      });
      const two = await controller.run(['node', 'rm', 'd', 'a', 'b']);
      expect(two).to.deep.equal({
        exitCode: 3,
        stdout: 'removed node a\n',
        stderr: 'nexus: d: there is no node "d"\nnexus: b: node b holds the only copy of a file\n',
      });
      const { stdout, stderr } = await controller.run(['-o', 'json', 'node', 'rm', 'd', 'a', 'b']);
      expect(JSON.parse(stdout)).to.deep.equal([{ id: 'id-a', name: 'a', lost_files: [], lost: [] }]);
      const { code, details } = JSON.parse(stderr) as { code: string; details: { failures: object[] } };
      expect(code).to.equal('not_found');
      expect(details.failures).to.deep.equal([
        { name: 'd', error: 'there is no node "d"', code: 'not_found', details: {} },
        { name: 'b', error: 'node b holds the only copy of a file', code: 'failed_precondition', details: {} },
      ]);
    });
  });

  it('drain several nodes at once, and remove several images and functions, as far as each goes', async () => {
    const removed = answer(({ name }: { name: string }) => {
      if (name === 'b') throw new NexusError('failed_precondition', 'b is used');
      return {};
    });
    let draining = 0;
    let bothBegan = (): void => undefined;
    const both = new Promise<void>((resolve) => (bothBegan = resolve));
    const drainNode: UntypedHandleCall = (call: ServerWritableStream<{ node: string }, object>) => {
      if (call.request.node === 'b') {
        call.emit('error', statusOf(new NexusError('failed_precondition', 'nobody else can take what is on b')));
        return;
      }
      draining += 1;
      if (draining === 2) bothBegan();
      call.write(DrainNodeResponse.fromPartial({ remainingBytes: 5n }));
      void both.then(() => {
        call.write(DrainNodeResponse.fromPartial({ remainingBytes: 0n }));
        call.end();
      });
    };
    await using({ removeImage: removed, removeFunction: removed, drainNode }, async (controller) => {
      const stderr = 'nexus: b is used\n';
      const images = await controller.run(['image', 'rm', 'a', 'b', 'c', 'a']);
      expect(images).to.deep.equal({ exitCode: 4, stdout: 'removed image a\nremoved image c\n', stderr });
      const functions = await controller.run(['lambda', 'rm', 'a', 'b', 'c']);
      expect(functions).to.deep.equal({ exitCode: 4, stdout: 'removed a\nremoved c\n', stderr });
      const one = await controller.run(['-o', 'json', 'image', 'rm', 'a']);
      expect(JSON.parse(one.stdout)).to.deep.equal({ name: 'a' });
      const drained = await controller.run(['-o', 'json', 'node', 'drain', 'a', 'b', 'c']);
      expect(drained.exitCode, drained.stderr).to.equal(4);
      expect(drained.stderr).to.include('nobody else can take what is on b');
      expect(JSON.parse(drained.stdout)).to.deep.equal([
        { node: 'a', finished: true, moved_bytes: 5 },
        { node: 'c', finished: true, moved_bytes: 5 },
      ]);
    });
  });

  it('remove what they can of several files, whichever comes first', async () => {
    const removeFile = answer(({ file }: { file: string }) => {
      if (file.startsWith('x')) throw new NexusError('not_found', `there is no file "${file}"`);
      return { id: file, name: 'data' };
    });
    await using({ removeFile }, async (controller) => {
      expect(await controller.run(['file', 'rm', 'x1', 'f1', 'x2', 'f2'])).to.deep.equal({
        exitCode: 3,
        stdout: 'removed f1  data\nremoved f2  data\n',
        stderr: 'nexus: x1: there is no file "x1"\nnexus: x2: there is no file "x2"\n',
      });
    });
  });

  it('name the flag or argument that was typed when the controller refuses a field', async () => {
    const refuse = (schema: z.ZodType): UntypedHandleCall =>
      answer((request) => {
        parseRequest(schema, request);
        throw new NexusError('internal', 'it was not refused');
      });
    const cases: readonly (readonly [line: string, said: string])[] = [
      ['node create a --storage 1G --mem 16', '--mem: must be at least 32 MB'],
      ['node create a --storage 1M', '--storage: must be from 32M'],
      ['node create Bad_ --storage 1G', "NAME: a node's name must be"],
      ['node create a --storage 1G --image B', "--image: an image's name must be"],
      ['node create a --storage 1G --label a/=c', '--label: a label key must be'],
      ['node create a --storage 1G --label a=ä', '--label: a label value must be'],
      ['node resize a --mem 16', '--mem: must be at least 32 MB'],
    ];
    const answers = { createNode: refuse(createNodeSchema), resizeNode: refuse(resizeNodeSchema) };
    await using(answers, async (controller) => {
      for (const [line, said] of cases) {
        const { exitCode, stderr } = await controller.run(line.split(' '));
        expect(exitCode, line).to.equal(2);
        expect(stderr.startsWith(`nexus: ${said}`), `${line}: ${stderr}`).to.equal(true);
      }
      const { stderr } = await controller.run('-o json node create a --storage 1G --mem 16'.split(' '));
      expect((JSON.parse(stderr) as { details: object }).details).to.include({ field: 'memory_mb' });
    });
  });

  it('node selftest refuses nodes that nothing confines, and leaves no node behind when one could not be made', async () => {
    const isOf = (runtime: string): UntypedHandleCall => answer(() => GetStatusResponse.fromPartial({ runtime }));
    const asked: string[] = [];
    const answers = {
      createNode: answer(({ name }: CreateNodeRequest) => {
        asked.push(`create ${name.slice(-1)}`);
        if (name.endsWith('b')) throw new NexusError('resource_exhausted', 'no room');
        return { node: { ...NODE, name } };
      }),
      removeNode: answer(({ node, force }: RemoveNodeRequest) => {
        asked.push(`remove ${node.slice(-1)} ${force}`);
        if (node.endsWith('b')) throw new NexusError('not_found', 'there is none');
        return { id: NODE.id, name: node, lostFiles: [], lost: [] };
      }),
    };
    await using({ ...answers, getStatus: isOf('process') }, async (controller) => {
      const { exitCode, stderr } = await controller.run(['node', 'selftest']);
      expect(exitCode).to.equal(4);
      expect(stderr).to.contain('nothing confines them');
    });
    expect(asked).to.deep.equal([]);
    await using({ ...answers, getStatus: isOf('runc') }, async (controller) => {
      expect(await controller.run(['node', 'selftest'])).to.include({ exitCode: 4, stderr: 'nexus: no room\n' });
    });
    expect(asked).to.deep.equal(['create a', 'create b', 'remove a true', 'remove b true']);
  });

  it('pass input, output and the exit code of exec through', async () => {
    const execInNode = (call: ServerDuplexStream<ExecInNodeRequest, ExecInNodeResponse>): void => {
      let command: string[] = [];
      call.on('data', (message: ExecInNodeRequest) => {
        command = message.start?.command ?? command;
        if (message.stdin !== undefined) call.write({ stdout: message.stdin });
        if (message.stdinEnd !== true) return;
        call.write({ stderr: Buffer.from(command.join('|')) });
        call.write({ exitCode: 42 });
        call.end();
      });
    };
    await using({ execInNode: execInNode as UntypedHandleCall }, async (controller) => {
      const line = ['node', 'exec', '-i', 'web-1', '--', 'sh', '-c', 'x', '--output', 'json'];
      const outcome = await controller.run(line, 'typed');
      expect(outcome).to.deep.equal({ exitCode: 42, stdout: 'typed', stderr: 'sh|-c|x|--output|json' });
    });
  });

  it('leave nothing behind when a download fails, and touch nothing when its destination is not there', async () => {
    const file = File.fromPartial({ id: 'f1', name: 'data.bin', size: 10n, chunksCount: 1 });
    let opened = 0;
    const openDownload = answer(() => {
      opened += 1;
      throw new NexusError('data_loss', 'the chunk is gone');
    });
    await using({ getFile: answer(() => ({ file })), openDownload }, async (controller) => {
      const folder = join(controller.folder, 'to');
      await mkdir(folder);
      await writeFile(join(folder, 'data.bin'), 'as it was');
      expect((await controller.run(['file', 'download', 'f1', folder])).exitCode).to.equal(1);
      expect(await readdir(folder)).to.deep.equal(['data.bin']);
      expect(opened).to.equal(1);
      const refused = await controller.run(['file', 'download', 'f1', join(folder, 'none', 'x')]);
      expect(refused.exitCode).to.equal(3);
      expect(refused.stderr).to.include('its folder does not exist');
      expect(opened).to.equal(1);
    });
  });

  it('refuse to upload what is not there or is a folder', async () => {
    await using({}, async (controller) => {
      const missing = await controller.run(['file', 'upload', join(controller.folder, 'none')]);
      expect(missing).to.include({ exitCode: 3 });
      expect(await controller.run(['file', 'upload', controller.folder])).to.include({ exitCode: 2 });
    });
  });

  it('say in words why an archive cannot be read, before anything is asked for', async () => {
    await using({}, async (controller) => {
      const none = join(controller.folder, 'missing.tar');
      expect(await controller.run(['image', 'import', 'box', none])).to.deep.equal({
        exitCode: 3,
        stdout: '',
        stderr: `nexus: cannot read ${none}: there is no such file or folder; give the path of a file that you can read\n`,
      });
      expect(await controller.run(['image', 'import', 'box', controller.folder])).to.include({ exitCode: 2 });
    });
  });

  it('say in words that the output is full, with exit code 4', async () => {
    await using({ listNodes: answer(() => ({ nodes: [NODE] })) }, async (controller) => {
      const full = await open('/dev/full', 'w');
      try {
        const words = [await cliBundle(), 'node', 'ls'];
        const env = { ...process.env, ...controller.env };
        const child = spawn(process.execPath, words, { env, stdio: ['ignore', full.fd, 'pipe'] });
        const { stderr } = child;
        if (stderr === null) throw new Error('it has no standard error');
        const exited = once(child, 'exit') as Promise<[number | null]>;
        const [said, [code]] = await Promise.all([text(stderr), exited]);
        expect(said).to.equal(
          'nexus: cannot write the output: no space is left on the device; send it somewhere else\n',
        );
        expect(code).to.equal(4);
      } finally {
        await full.close();
      }
    });
  });

  it('write a download into a device or pipe instead of putting a file in its place', async () => {
    const file = File.fromPartial({ id: 'f1', name: 'empty', size: 0n, chunksCount: 0 });
    await using({ getFile: answer(() => ({ file })) }, async (controller) => {
      const pipe = join(controller.folder, 'pipe');
      execFileSync('mkfifo', [pipe]);
      const reader = createReadStream(pipe);
      const [outcome, received] = await Promise.all([controller.run(['file', 'download', 'f1', pipe]), text(reader)]);
      expect(outcome).to.include({ exitCode: 0, stderr: '' });
      expect(received).to.equal('');
      expect((await stat(pipe)).isFIFO()).to.equal(true);
    });
  });
});

describe('a failure of one of several', () => {
  it('names it once', () => {
    const refused = (message: string): NexusError => new NexusError('permission_denied', message);
    const said = (name: string, message: string): string => namedError({ name, error: refused(message) }).message;
    const told = 'cannot read /home/a/up/sub/x: permission denied; give the path of a file that you can read';
    expect(said('sub/x', told)).to.equal(told);
    expect(said('sub/x', 'no node can take data')).to.equal('sub/x: no node can take data');
    // Its local path is another one.
    expect(said('/up/x', 'cannot write out/x: no space')).to.equal('/up/x: cannot write out/x: no space');
  });

  it('of a file whose own name is refused, or that has none, says so', async () => {
    expect((await runNexus(['file', 'upload', ''])).stderr).to.match(/^nexus: cannot read "": there is no such file/);
    const openUpload = answer(() => {
      throw new NexusError('invalid_argument', 'name: must be a plain file name', {
        field: 'name',
        problem: 'must be a plain file name',
      });
    });
    await using controller = await FakeController.start({ openUpload });
    const path = join(controller.folder, 'new\nline');
    await writeFile(path, '');
    expect(await controller.run(['file', 'upload', path])).to.deep.equal({
      exitCode: 2,
      stdout: '',
      stderr: 'nexus: "new?line" can\'t be its name in the cluster; give another one: --name NAME\n',
    });
    expect((await controller.run(['file', 'upload', path, '--name', 'a/b'])).stderr).to.equal(
      'nexus: --name: must be a plain file name\n',
    );
  });
});

describe('a settings file that does not stay', () => {
  it('starts no controller, which would read it again', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'nexus-config-'));
    try {
      const pipe = join(folder, 'pipe');
      execFileSync('mkfifo', [pipe]);
      for (const line of [['up'], ['up', '--foreground'], ['daemon']]) {
        const [outcome] = await Promise.all([
          runNexus([...line, '--config', pipe], { NEXUS_RUNTIME: 'process', NEXUS_STATE_DIR: join(folder, 'state') }),
          writeFile(pipe, 'default-replicas: 2\n'),
        ]);
        expect(outcome).to.deep.equal({
          exitCode: 2,
          stdout: '',
          stderr: `nexus: settings file ${pipe}: the controller needs one that stays, no pipe or open descriptor; write it to a file\n`,
        });
      }
      expect(await readdir(folder)).to.deep.equal(['pipe']);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('a file of the caller’s that can’t be opened', () => {
  it('is told of with what helps: a name that is not UTF-8, a socket', async () => {
    await using controller = await FakeController.start({});
    const told = await controller.run(['file', 'upload', join(controller.folder, 'bad\ufffd')]);
    expect(told.exitCode).to.equal(3);
    expect(told.stderr).to.match(/bad\ufffd: its name is not UTF-8; send it to standard input: .* - --name NAME\)\n$/);
    expect(await controller.run(['file', 'upload', controller.socket])).to.deep.equal({
      exitCode: 2,
      stdout: '',
      stderr: `nexus: ${controller.socket} is a socket, which can't be read as a file; give a file or a pipe\n`,
    });
  });
});

describe('a file of the caller’s that can’t be read to its end', () => {
  it('is named, whatever command reads it', async () => {
    const swallow = ((call: Readable) => call.resume()) as unknown as UntypedHandleCall;
    await using controller = await FakeController.start({ importImage: swallow, importState: swallow });
    // Opened without a word, and refused at its first byte, where nothing is mapped.
    const path = '/proc/self/mem';
    for (const line of [
      `lambda run ${path}`,
      `lambda deploy f ${path}`,
      `image import i ${path}`,
      `state import ${path}`,
    ]) {
      const { exitCode, stderr } = await controller.run(line.split(' '));
      expect(exitCode, line).to.equal(1);
      expect(stderr, line).to.match(/cannot read \/proc\/self\/mem: .*; give a file that can be read to its end\n$/);
    }
  });
});

/** Without ends of lines. U+061C, 200E, 200F, 202A to 202E and 2066 to 2069 turn the direction of text. */
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

describe('what a terminal is given', () => {
  it('has no control characters of what nodes, files and people are called and say', async () => {
    const turning = '\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069';
    const said = `it ended: \u001b]0;x\u0007\u009b31m${turning} end\nof it`;
    const [bidi, inspection] = [`a]0;x${turning}b`, JSON.stringify({ node: said, commands: [{ command: said }] })];
    await using controller = await FakeController.start({
      getNode: answer(() => ({ node: { ...NODE, status: 'Failed', statusReason: said, image: said } })),
      watchEvents: ((call: ServerWritableStream<unknown, WatchEventsResponse>) => {
        call.write({ event: { id: 1n, at: '2026-01-01T00:00:00.000Z', type: said, subject: said, message: said } });
        call.end();
      }) as UntypedHandleCall,
      inspectAgent: answer(() => ({ inspection })),
      listFiles: answer(() => ({
        files: [File.fromPartial({ id: 'f1', name: bidi, owner: said })],
        nextPageToken: '',
      })),
    });
    for (const line of ['node inspect web-1', 'events', 'events -f', 'agent inspect web-1', 'file ls']) {
      for (const format of ['table', 'json', 'yaml']) {
        const { stdout, stderr } = await controller.run([...line.split(' '), '-o', format]);
        expect(stdout + stderr, `${line} ${format}`)
          .to.match(/\]0;x/)
          .and.not.match(CONTROLS);
      }
    }
    const { stdout } = await controller.run(['node', 'inspect', 'web-1', '-o', 'json']);
    expect(JSON.parse(stdout)).to.have.property('status_reason', said);
    const yaml = await controller.run(['node', 'inspect', 'web-1', '-o', 'yaml']);
    expect(parse(yaml.stdout)).to.have.property('status_reason', said);
    // Without any of the older control characters YAML would not quote it.
    expect(parse((await controller.run(['file', 'ls', '-o', 'yaml'])).stdout)).to.have.nested.property(
      '[0].name',
      bidi,
    );
    expect(JSON.parse((await controller.run(['file', 'ls', '-o', 'json'])).stdout)).to.have.nested.property(
      '[0].name',
      bidi,
    );
  });
});
