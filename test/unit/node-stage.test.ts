/** The controller's reading of how node-stage ended; the program itself is in test/contract/node-stage.test.ts. */
import { PassThrough } from 'node:stream';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Socket } from 'node:net';
import { expect } from 'chai';
import { assembleNode } from '../../controller/hosting/contained/node-stage.js';
import type { ContainerSpec } from '../../controller/hosting/runtime.js';
import { toNexusError, type NexusError } from '../../shared/errors.js';
import { newNodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';

describe('the end of what puts a node together', () => {
  let folder: string;
  let output: PassThrough;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nexus-stage-'));
    output = new PassThrough();
  });
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  async function assemble(script: string, signal = AbortSignal.timeout(60_000)): Promise<NexusError | undefined> {
    const program = join(folder, 'stage');
    await writeFile(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const spec: ContainerSpec = {
      nodeId: newNodeId(),
      hostname: 'a',
      limits: { memoryBytes: 128 * MIB, cpuWeight: 512, pids: 128 },
      agentUid: 7,
      rootfs: '/image',
      volumePath: '/volume.img',
      volumeUuid: 'uuid',
      loopDevice: 3,
      configDir: '/config',
      output: output as unknown as Socket,
    };
    return await assembleNode(program, spec, { pid: 5, startTicks: '99' }, signal).then(() => undefined, toNexusError);
  }

  it('tells the program whose child it is, and which process is meant', async () => {
    expect(await assemble('echo "$@" >&2')).to.equal(undefined);
    const pages = '\\d+';
    expect(String(output.read())).to.match(
      new RegExp(`^${process.pid} 5 99 3 uuid 7 ${pages} /image /volume\\.img /config\\n$`),
    );
  });

  const WAYS: [number, readonly string[]][] = [
    [70, []],
    [71, ['give-up-volume']],
    [72, ['give-up-volume']],
    [77, []],
    [78, ['start-failed-node', 'see-doctor']],
  ];
  for (const [exitCode, advice] of WAYS) {
    it(`gives its last words, and for exit code ${exitCode} ${advice.join(' and ') || 'no advice'}`, async () => {
      const error = await assemble(
        `echo "first-stage: said: why" >&2; echo "first-stage: words" >&2; exit ${exitCode}`,
      );
      expect(error).to.include({ code: 'failed_precondition', message: 'the node ended while it started: words' });
      expect(error?.advice.map(({ key }) => key)).to.deep.equal(advice);
      expect(String(output.read())).to.equal('first-stage: said: why\nfirst-stage: words\n');
    });
  }

  it('comes with the cancellation of the start', async () => {
    const gone = new AbortController();
    const ended = assemble('exec sleep 600', gone.signal);
    gone.abort();
    expect(await ended).to.include({ code: 'cancelled' });
  });
});
