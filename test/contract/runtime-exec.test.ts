/** What every container runtime keeps of the commands that run in a node: streams, ends, and back-pressure. */
import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { tryCommand } from '../../shared/exec.js';
import { isAlive } from '../../controller/host/process-identity.js';
import type { NodeId } from '../../shared/ids.js';
import type { ContainerRuntime, ExecSpec } from '../../controller/hosting/runtime.js';
import { eventually, PROJECT } from '../support/cluster.js';
import { codeOf } from '../support/codes.js';
import { collect, execSpec, GREET, SAY_AND_FAIL, WAIT } from '../support/commands.js';
import { RUNTIMES, startIn, type CreatedContainer, type OpenedRuntime } from '../support/runtimes.js';
import { skipWithoutSystem } from '../support/system.js';

for (const { name, needsRoot, open } of RUNTIMES) {
  describe(`a command in a container, ${name}`, function () {
    this.timeout(180_000);
    let opened: OpenedRuntime;
    let runtime: ContainerRuntime;

    before(function () {
      if (needsRoot) skipWithoutSystem(this);
    });
    beforeEach(async () => {
      opened = await open();
      runtime = opened.runtime;
      await runtime.prepare();
    });
    afterEach(async () => {
      expect(await opened.dispose(), 'left on the host').to.deep.equal([]);
    });

    const createAndStart = (): Promise<CreatedContainer> => startIn(opened);
    const run = async (command: readonly string[], change: Partial<ExecSpec> = {}, input = ''): Promise<object> => {
      const { id } = await createAndStart();
      const handle = await runtime.exec(id, execSpec(command, change));
      const output = collect(handle);
      if (input !== '') await handle.write(Buffer.from(input));
      handle.endInput();
      return { code: await handle.exited, ...output };
    };

    it('has its streams apart and its exit code', async () => {
      const result = await run(SAY_AND_FAIL);
      expect(result).to.deep.equal({ code: 3, stdout: 'out\n', stderr: 'err\n' });
    });

    it('reads what is written, to its end', async () => {
      expect(await run(['cat'], {}, 'one\ntwo\n')).to.deep.include({ code: 0, stdout: 'one\ntwo\n' });
    });

    it('has its environment', async () => {
      const result = await run(GREET, { env: { GREETING: 'hello there' } });
      expect(result).to.deep.include({ code: 0, stdout: 'hello there\n' });
    });

    it('that does not exist exits with 127, and one line says so', async () => {
      const stderr = 'nexus: there is no program no-such-program in the node\n';
      expect(await run(['no-such-program'])).to.deep.equal({ code: 127, stdout: '', stderr });
    });

    it('starts while others end, and none of them takes its cgroup away', async () => {
      const { id } = await createAndStart();
      const several = async (): Promise<number[]> => {
        const codes: number[] = [];
        for (let count = 0; count < 8; count += 1) {
          const handle = await runtime.exec(id, execSpec(SAY_AND_FAIL));
          collect(handle);
          handle.endInput();
          codes.push(await handle.exited);
        }
        return codes;
      };
      const codes = (await Promise.all([several(), several(), several()])).flat();
      expect(codes).to.deep.equal(codes.map(() => 3));
    });

    it('ends by a signal, as a shell counts', async () => {
      const { id } = await createAndStart();
      const handle = await runtime.exec(id, execSpec(WAIT));
      collect(handle);
      handle.signal('TERM');
      expect(await handle.exited).to.equal(143);
    });

    it('is killed with one word, and the container lives on', async () => {
      const { id, identity } = await createAndStart();
      const handle = await runtime.exec(id, execSpec(WAIT));
      collect(handle);
      await handle.kill();
      expect(await handle.exited).to.not.equal(0);
      expect(isAlive(identity)).to.equal(true);
    });

    it('waits for whoever takes its output', async () => {
      const { id } = await createAndStart();
      const handle = await runtime.exec(id, execSpec(['cat']));
      let taken = 0;
      let goOn = (): void => undefined;
      const held = new Promise<void>((resolve) => (goOn = resolve));
      handle.onOutput(async (_stream, data) => {
        taken += data.length;
        await held;
      });
      const piece = Buffer.alloc(256 * 1024);
      let isAllTaken = false;
      const written = (async () => {
        for (let count = 0; count < 8; count += 1) await handle.write(piece);
        handle.endInput();
        await handle.exited;
        isAllTaken = true;
      })();
      await eventually(
        () => taken,
        (bytes) => bytes > 0,
      );
      expect(isAllTaken, 'with output that nobody has taken').to.equal(false);
      const takenWhileHeld = taken;
      expect(takenWhileHeld).to.be.below(8 * piece.length);
      goOn();
      await written;
      expect(taken).to.equal(8 * piece.length);
    });

    it("ends with the container's removal, which leaves nothing of it", async () => {
      const { id } = await createAndStart();
      const handle = await runtime.exec(id, execSpec(WAIT));
      collect(handle);
      await runtime.remove(id);
      expect(await handle.exited).to.not.equal(0);
      expect(opened.leftOf(id)).to.deep.equal([]);
    });

    // Signals need processes.
    if (name !== 'in memory') {
      const waiting = (end: string): string[] => [
        'sh',
        '-c',
        `trap '${end}' TERM; echo up; while :; do sleep 0.1; done`,
      ];
      const start = async (
        id: NodeId,
        command: string[],
      ): Promise<{ exited: Promise<number>; output: { readonly stdout: string } }> => {
        const handle = await runtime.exec(id, execSpec(command));
        const output = collect(handle);
        await eventually(
          () => output.stdout,
          (text) => text.includes('up'),
        );
        return { exited: handle.exited, output };
      };

      it('is asked to end with the others, and has its time', async () => {
        const { id, identity } = await createAndStart();
        const one = await start(id, waiting('echo TERM; exit 7'));
        const two = await start(id, waiting('exit 8'));
        expect(await runtime.endCommands(id, 10_000)).to.have.length(2);
        expect([await one.exited, await two.exited]).to.deep.equal([7, 8]);
        expect(one.output.stdout).to.equal('up\nTERM\n');
        expect(isAlive(identity), 'the container').to.equal(true);
        expect(await runtime.endCommands(id, 10_000)).to.deep.equal([]);
      });

      it('that does not end when it is asked is killed after its time, and one that is stopped is not forgotten', async () => {
        const { id } = await createAndStart();
        const deaf = await start(id, waiting(''));
        const stopped = await start(id, ['sh', '-c', 'trap "exit 9" TERM; echo up; kill -STOP $$; :']);
        await runtime.endCommands(id, 1000);
        expect([await deaf.exited, await stopped.exited]).to.deep.equal([137, 9]);
      });

      it('ends when its process does; whoever else holds its output is the container’s, not a controller’s', async () => {
        const { id } = await createAndStart();
        const handle = await runtime.exec(id, execSpec(['sh', '-c', 'sleep 251 & echo hi; exit 5']));
        const output = collect(handle);
        expect({ code: await handle.exited, ...output }).to.deep.equal({ code: 5, stdout: 'hi\n', stderr: '' });
        expect(await (await opened.reopen()).endCommands(id, 10_000, 'orphaned')).to.deep.equal([]);
        expect(await runtime.endCommands(id, 10_000), 'the sleep').to.have.length(1);
        const second = await runtime.exec(id, execSpec(['sh', '-c', 'sleep 252 &']));
        collect(second);
        expect(await second.exited).to.equal(0);
        // With the container goes the rest: what is left of it is looked for at the end.
        await runtime.remove(id);
      });

      it('has its output whole, though it ends before that is taken and somebody goes on writing', async () => {
        const { id } = await createAndStart();
        const script = 'cat /proc/self/exe; (while :; do echo more; done) & exit 0';
        const handle = await runtime.exec(id, execSpec(['sh', '-c', script]));
        const pieces: Buffer[] = [];
        handle.onOutput(async (_stream, data) => {
          await setImmediate();
          pieces.push(data);
        });
        expect(await handle.exited).to.equal(0);
        const programs = needsRoot ? join(PROJECT, 'dist', 'runtime', 'bin', 'busybox') : '/bin/cat';
        const expected = readFileSync(programs);
        expect(Buffer.concat(pieces).subarray(0, expected.length).equals(expected)).to.equal(true);
        await runtime.endCommands(id, 10_000);
      });

      it('that has stopped itself ends by SIGTERM, and takes along what it started', async () => {
        const { id } = await createAndStart();
        const handle = await runtime.exec(id, execSpec(['sh', '-c', 'sleep 253 & echo up; kill -STOP $$']));
        const output = collect(handle);
        await eventually(
          () => output.stdout,
          (text) => text.includes('up'),
        );
        handle.signal('TERM');
        expect(await handle.exited).to.equal(143);
        // A process that was killed may not be taken apart yet.
        await eventually(
          () => runtime.endCommands(id, 10_000),
          (left) => left.length === 0,
        );
      });

      it('that is killed while it is being started is not started after that', async () => {
        const { id } = await createAndStart();
        for (let count = 0; count < 8; count += 1) {
          const handle = await runtime.exec(id, execSpec(WAIT));
          collect(handle);
          await setTimeout(count * 8);
          await handle.kill();
          expect(await handle.exited).to.not.equal(0);
        }
        expect(await runtime.endCommands(id, 10_000)).to.deep.equal([]);
      });

      it('that an earlier controller has started is ended by the next, which is told its name; its own stay', async () => {
        const { id } = await createAndStart();
        const left = await start(id, waiting('exit 7'));
        runtime = await opened.reopen();
        const own = await start(id, waiting('exit 9'));
        const [line = '', ...more] = await runtime.endCommands(id, 10_000, 'orphaned');
        expect(line)
          .to.match(/^sh -c trap/)
          .and.contain('exit 7');
        expect(more).to.deep.equal([]);
        expect(await left.exited).to.equal(7);
        expect(await runtime.endCommands(id, 10_000, 'orphaned')).to.deep.equal([]);
        expect(await runtime.endCommands(id, 10_000)).to.have.length(1);
        expect(await own.exited).to.equal(9);
      });
    }

    if (needsRoot) {
      it('that cannot begin says why in one line, with a terminal and without', async () => {
        const { id } = await createAndStart();
        const tried = async (command: string[], change: Partial<ExecSpec>): Promise<unknown[]> => {
          const handle = await runtime.exec(id, execSpec(command, change));
          const output = collect(handle);
          return [await handle.exited, output.stdout + output.stderr];
        };
        const folder = 'nexus: the command cannot start in /nosuch: there is no such folder in the node';
        const file = 'nexus: the command cannot start in /proc/version: it is not a folder, or access to it is denied';
        const absent = 'nexus: there is no program /nosuch in the node';
        const noProgram = /^nexus: \/proc\/version cannot be run in the node: it is not executable, [^\r\n]*\r?\n$/;
        for (const tty of [false, true]) {
          const end = tty ? '\r\n' : '\n';
          expect(await tried(['cat'], { tty, workingDir: '/nosuch' })).to.deep.equal([126, folder + end]);
          expect(await tried(['cat'], { tty, workingDir: '/proc/version' })).to.deep.equal([126, file + end]);
          expect(await tried(['/nosuch', 'x'], { tty })).to.deep.equal([127, absent + end]);
          const [code, said] = await tried(['/proc/version'], { tty });
          expect(code).to.equal(126);
          expect(said).to.match(noProgram);
        }
        const named = await tried(['nosuch'], { tty: true });
        expect(named).to.deep.equal([127, 'nexus: there is no program nosuch in the node\r\n']);
      });

      it('whose interpreter is not there exits with 127 and names it, with a terminal and without', async () => {
        const { id } = await createAndStart();
        const run = async (command: string[], tty = false): Promise<[number, string]> => {
          const handle = await runtime.exec(id, execSpec(command, { tty, workingDir: '/tmp' }));
          const output = collect(handle);
          handle.endInput();
          return [await handle.exited, output.stdout + output.stderr];
        };
        const files = {
          script: '#!/no/such\\necho hi\\n',
          spaced: '#! /no/such -x\\n',
          windows: '#!/bin/sh\\r\\necho hi\\r\\n',
          whole: '#!/bin/sh\\necho "exec /x: no such file or directory" >&2; exit 1\\n',
          plain: 'echo hi\\n',
        };
        for (const [name, text] of Object.entries(files))
          expect(await run(['sh', '-c', `printf '${text}' >${name} && chmod +x ${name}`])).to.deep.equal([0, '']);
        for (const tty of [false, true]) {
          const end = tty ? '\r\n' : '\n';
          const lacks = (program: string, what: string): [number, string] => [
            127,
            `nexus: ${program} cannot be run in the node: there is no interpreter ${what}${end}`,
          ];
          expect(await run(['/tmp/script', 'x'], tty)).to.deep.equal(lacks('/tmp/script', '/no/such'));
          expect(await run(['./spaced'], tty)).to.deep.equal(lacks('./spaced', '/no/such'));
          expect(await run(['/tmp/windows'], tty)).to.deep.equal(lacks('/tmp/windows', '/bin/sh\\r'));
          // A command's own words stay as they are.
          expect(await run(['/tmp/whole'], tty)).to.deep.equal([1, `exec /x: no such file or directory${end}`]);
        }
        const [code, said] = await run(['/tmp/plain']);
        expect(code).to.equal(126);
        expect(said).to.match(/^nexus: \/tmp\/plain cannot be run in the node: it is not executable, [^\n]*\n$/);
      });

      const MOST_BEGIN_MS = 3000;

      it('that waits at a file of the node before it begins is given up with advice that helps, and leaves nothing', async () => {
        const { id } = await createAndStart();
        const prepare = async (script: string): Promise<void> => {
          const busybox = '/.nexus/rt/bin/busybox';
          const handle = await runtime.exec(id, execSpec([busybox, 'sh', '-c', script.replaceAll('$B', busybox)]));
          const output = collect(handle);
          expect([await handle.exited, output.stderr]).to.deep.equal([0, '']);
        };
        const impatient = await opened.reopen(MOST_BEGIN_MS);
        const traps = [
          { trap: '$B mkfifo /etc/passwd', terminals: [false, true] },
          { trap: '$B mkfifo /etc/pipe; ln -s pipe /etc/group', terminals: [false] },
          // Without a terminal there is none behind that name, and the command begins.
          { trap: 'ln -s /dev/tty /etc/passwd', terminals: [true] },
        ];
        for (const { trap, terminals } of traps) {
          for (const tty of terminals) {
            await prepare(`$B mkdir -p /etc; $B rm -f /etc/passwd /etc/group; ${trap}`);
            const handle = await impatient.exec(id, execSpec(['cat'], { tty }));
            const output = collect(handle);
            const code = await handle.exited;
            const said = output.stdout + output.stderr;
            const [, command = said] = /^nexus: cat did not begin .* with: (nsenter [^\r\n]*)\r?\n$/.exec(said) ?? [];
            expect([code, command], trap).to.deep.equal([126, command.startsWith('nsenter') ? command : 'advice']);
            expect(opened.commandsOf(id)).to.deep.equal([]);
            expect(await runtime.endCommands(id, 10_000), 'processes').to.deep.equal([]);
            const [program = '', ...args] = command.split(' ');
            await tryCommand(program, args);
          }
        }
        await prepare(':');
      });

      it('for which the host makes no terminal leaves nothing', async () => {
        const { id } = await createAndStart();
        // The module throws for a size that is none as for a host that has no terminal left.
        const tried = codeOf(() => runtime.exec(id, execSpec(['cat'], { tty: true, columns: 'none' as never })));
        expect(await tried).to.equal('resource_exhausted');
        expect(opened.commandsOf(id)).to.deep.equal([]);
      });

      it('can open its output by name, as its user, too', async () => {
        const result = await run(['sh', '-c', 'echo words >/dev/stderr'], { uid: 1000 });
        expect(result).to.deep.equal({ code: 0, stdout: '', stderr: 'words\n' });
      });

      it('has a terminal that ends lines as any, until it is told otherwise', async () => {
        const script = 'printf "a\\nb\\n"; stty -onlcr; printf "c\\nd\\n"; echo "$GREETING"';
        const result = await run(['sh', '-c', script], { tty: true, env: { GREETING: 'hello there' } });
        expect(result).to.deep.include({ code: 0, stdout: 'a\r\nb\r\nc\nd\nhello there\n' });
      });
    }

    it('has a terminal, or the runtime says that it has none', async () => {
      const { id } = await createAndStart();
      const asked = codeOf(async () => {
        const handle = await runtime.exec(id, execSpec(['cat'], { tty: true }));
        collect(handle);
        handle.resize(100, 40);
        await handle.kill();
        await handle.exited;
      });
      expect(await asked).to.equal(opened.isContained ? 'accepted' : 'failed_precondition');
    });
  });
}
