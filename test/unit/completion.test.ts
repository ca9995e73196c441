import { expect } from 'chai';
import { GLOBAL_FLAGS } from '../../cli/runner/command.js';
import { isGroup, type Group, type Leaf } from '../../cli/runner/command-group.js';
import { COMMANDS } from '../../cli/runner/command-tree.js';
import { checkCompleteness, scanArguments } from '../../cli/runner/scan.js';
import { NexusError } from '../../shared/errors.js';
import { File } from '../../shared/gen/nexus/v1/file.js';
import { FsEntry } from '../../shared/gen/nexus/v1/fs.js';
import { Node } from '../../shared/gen/nexus/v1/node.js';
import { answer, FakeController, runNexus } from '../support/fake-controller.js';
import { shellWords } from '../support/shell-words.js';

/** The words of each command, beginning below nexus. */
const leaves = (group: Group, words: readonly string[]): { words: readonly string[]; leaf: Leaf }[] =>
  Object.entries(group.children).flatMap(([name, entry]) =>
    isGroup(entry) ? leaves(entry, [...words, name]) : [{ words: [...words, name], leaf: entry }],
  );

describe('the description of each command', () => {
  for (const { words, leaf } of leaves(COMMANDS, [])) {
    const typed = `nexus ${words.join(' ')}`;
    it(`${typed}: summary, and examples that can be typed`, async () => {
      const command = await leaf.load();
      expect(command.summary).to.equal(leaf.summary);
      expect(command.examples).to.not.have.length(0);
      for (const [line] of command.examples) {
        // In a pipe it is the part that is nexus; what the shell takes for itself is not the command's.
        const part = shellWords(line.replace(/<\(|\)$| [<>] \S+/g, ' '))
          .join('\0')
          .split('\0|\0')
          .find((one) => /(^|\0)nexus\0/.test(one));
        const [, ...given] = (part ?? '').split('\0').slice((part ?? '').split('\0').indexOf('nexus'));
        expect(given.slice(0, words.length), line).to.deep.equal(words);
        const flags = { ...GLOBAL_FLAGS, ...command.flags };
        checkCompleteness(scanArguments(given.slice(words.length), command, flags, typed), command, typed);
      }
    });
  }

  it('is what nexus help tells, word for word', async () => {
    for (const words of [[], ['node'], ['node', 'create']]) {
      const [asked, flagged] = [await runNexus(['help', ...words]), await runNexus([...words, '--help'])];
      expect(asked).to.deep.equal(flagged);
      expect(asked).to.include({ exitCode: 0, stderr: '' });
    }
    expect((await runNexus(['help', 'node', 'crate'])).stderr).to.match(/did you mean "create"\?/);
    expect(await runNexus(['help', 'node', 'ls', 'x'])).to.include({ exitCode: 2 });
  });
});

const NODES = ['web-1', 'web-2', 'db'].map((name) => Node.fromPartial({ name, status: 'Running', ip: '10.0.0.2' }));
const ANSWERS = {
  listNodes: answer(() => ({ nodes: NODES })),
  listFiles: answer(() => ({
    files: [File.fromPartial({ id: '3f2a000000000000', name: 'big.iso' })],
    nextPageToken: '',
  })),
  listFolder: answer(({ path }: { path: string }) => ({
    entries: [
      FsEntry.fromPartial({ name: 'photos', type: 'folder', path: `${path}photos` }),
      FsEntry.fromPartial({ name: 'a b.txt', type: 'file', path: `${path}a b.txt` }),
    ],
    nextPageToken: '',
  })),
  listImages: answer(() => {
    throw new NexusError('internal', 'it broke');
  }),
};

describe('completion', () => {
  let controller: FakeController;
  before(async () => {
    controller = await FakeController.start(ANSWERS);
  });
  after(async () => {
    await controller[Symbol.asyncDispose]();
  });

  /** The words alone; says no word on standard error. */
  const offered = async (...line: string[]): Promise<string[]> => {
    const { exitCode, stdout, stderr } = await controller.run(['completion', 'candidates', '--', ...line]);
    expect({ exitCode, stderr }).to.deep.equal({ exitCode: 0, stderr: '' });
    return stdout
      .split('\n')
      .slice(0, -1)
      .map((text) => text.split('\t')[0] ?? '');
  };

  it('offers commands, at every level', async () => {
    expect(await offered('')).to.include.members(['up', 'node', 'completion', 'help']);
    expect(await offered('node', 'st')).to.deep.equal(['start', 'stop']);
    expect(await offered('--output', 'json', 'node', 'un')).to.deep.equal(['uncordon']);
    expect(await offered('nood', '')).to.deep.equal([]);
  });

  it('offers the words of commands behind help, and no command that only programs use', async () => {
    expect(await offered('help', 'no')).to.deep.equal(['node']);
    expect(await offered('help', 'node', 'un')).to.deep.equal(['uncordon']);
    expect(await offered('help', 'node', 'create', '')).to.deep.equal([]);
    expect(await offered('help', 'nood', '')).to.deep.equal([]);
    expect(await offered('completion', '')).to.deep.equal(['bash', 'zsh', 'fish']);
    expect((await runNexus(['completion'])).stderr).to.match(/needs a command: bash, zsh, fish$/m);
    expect((await runNexus(['help', 'completion'])).stdout).not.to.contain('candidates');
  });

  it('offers flags, and none twice unless it may be given twice', async () => {
    expect(await offered('node', 'create', '--st')).to.deep.equal(['--storage']);
    expect(await offered('node', 'create', '--storage', '1G', '--st')).to.deep.equal([]);
    expect(await offered('node', 'create', '--label', 'a=b', '--la')).to.deep.equal(['--label']);
    expect(await offered('--o')).to.deep.equal(['--output']);
  });

  it('offers what a flag can be, behind it and within its word', async () => {
    expect(await offered('node', 'ls', '-o', '')).to.deep.equal(['table', 'json', 'yaml']);
    expect(await offered('node', 'ls', '--output=j')).to.deep.equal(['--output=json']);
    expect(await offered('top', '--sort', 'c')).to.deep.equal(['cpu', 'chunks']);
    expect(await offered('file', 'scrub', '--node', 'w')).to.deep.equal(['web-1', 'web-2']);
    const { stdout } = await controller.run(['completion', 'candidates', '--', 'top', '--sort', 'c']);
    expect(stdout, 'the meaning of the flag is not that of each value').to.equal('cpu\nchunks\n');
  });

  it('asks the cluster for nodes, files and folders', async () => {
    expect(await offered('node', 'rm', 'db', 'web')).to.deep.equal(['web-1', 'web-2']);
    expect(await offered('metrics', '')).to.deep.equal(['web-1', 'web-2', 'db']);
    expect(await offered('file', 'stat', '3')).to.deep.equal(['3f2a000000000000']);
    expect(await offered('fs', 'ls', '/x/p')).to.deep.equal(['/x/photos/', ':open']);
    expect(await offered('fs', 'stat', '/a')).to.deep.equal(['/a b.txt', ':open']);
  });

  it('leaves files of this machine to the shell, and commands in nodes alone', async () => {
    expect(await offered('file', 'upload', '')).to.deep.equal([':local']);
    expect(await offered('--config', '')).to.deep.equal([':local']);
    expect(await offered('node', 'exec', 'web-1', '--', 'l')).to.deep.equal([]);
    expect(await offered('node', 'ls', 'x')).to.deep.equal([]);
  });

  it('is silent when the cluster fails, or is none', async () => {
    expect(await offered('image', 'rm', '')).to.deep.equal([]);
    const env = { NEXUS_SOCKET: `${controller.folder}/none.sock`, NEXUS_RUNTIME: 'process' };
    const alone = await runNexus(['completion', 'candidates', '--', 'node', 'rm', ''], env);
    expect(alone).to.deep.equal({ exitCode: 0, stdout: '', stderr: '' });
  });
});
