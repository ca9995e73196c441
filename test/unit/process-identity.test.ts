/** When a process counts as ended: once all that it held is free, whether or not its parent has looked. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { identify, identifyChild, isAlive } from '../../controller/host/process-identity.js';
import { eventually } from '../support/cluster.js';

/** Listens and says where; its first thread ends at once, the other one when the input does. */
const LISTENER = `import ctypes,os,socket,sys,threading
link = socket.socket(); link.bind(("127.0.0.1", 0)); link.listen()
print(link.getsockname()[1], flush=True)
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0))).start()
SYS_EXIT = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
ctypes.CDLL(None).syscall(SYS_EXIT, 0)`;
/** Has a child that has ended, and does not look. */
const PARENT = 'import os,time\npid = os.fork()\nif pid == 0: os._exit(0)\nprint(pid, flush=True); time.sleep(60)';

describe('a process', () => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  /** The number that it prints first. */
  async function python(code: string): Promise<{ child: ChildProcess; said: number }> {
    const child = spawn('python3', ['-c', code], { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    const [data] = (await once(child.stdout, 'data')) as [Buffer];
    return { child, said: Number(data.toString()) };
  }
  const stateOf = (pid: number): string =>
    /^State:\t(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';

  it('that runs is alive, and another one with its number is not it', () => {
    const identity = identify(process.pid);
    expect(identity).to.be.an('object');
    expect(isAlive(identity!)).to.equal(true);
    expect(isAlive({ ...identity!, startTicks: '1' })).to.equal(false);
  });

  it('has ended when nobody has reaped it', async () => {
    const { said } = await python(PARENT);
    await eventually(
      () => stateOf(said),
      (state) => state === 'Z',
    );
    expect(identify(said)).to.equal(undefined);
    expect(identifyChild(said)).to.be.an('object');
  });

  it('has not ended while another of its threads holds its port', async () => {
    const { child, said: port } = await python(LISTENER);
    const pid = child.pid ?? 0;
    await eventually(
      () => stateOf(pid),
      (state) => state === 'Z',
    );
    const identity = identify(pid);
    expect(identity, 'identity').to.be.an('object');
    child.stdin?.end();
    await eventually(
      () => isAlive(identity!),
      (lives) => !lives,
    );
    const server = createServer().listen(port, '127.0.0.1');
    await once(server, 'listening');
    server.close();
  });
});
