/** Who pays when sandboxes share a node, what a caller is told when something else ends the code, and refusals. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually, PROJECT, type TestCluster } from '../support/cluster.js';
import { GatewayClient, type Answer } from '../support/gateway.js';
import { describeWithCluster } from '../support/system.js';

const CLI = join(PROJECT, 'dist', 'cli', 'main.js');

type Ended = Awaited<ReturnType<TestCluster['run']>>;

/** Each too small to be the one that the kernel picks; all together more than the node has. */
const MANY_SMALL = `
import os, time
for _ in range(30):
    if os.fork() == 0:
        pages = []
        while len(pages) < 30: pages.append(bytearray(1 << 18)); time.sleep(0.02)
        time.sleep(250)
time.sleep(250)
`;
const NEIGHBOUR = `
import time
memory = bytearray(40 << 20)
print("up", flush=True)
time.sleep(5)
print("lived")
`;
const sleeping = (seconds: number): string =>
  `import time\nprint("up", flush=True)\ntime.sleep(${seconds})\nprint("done")`;

describeWithCluster(
  'lambda, at the limits',
  { gateway: true, env: { NEXUS_LAMBDA_CONCURRENCY: '2', NEXUS_LAMBDA_QUEUE_LENGTH: '1' } },
  (cluster) => {
    let gateway: GatewayClient;
    let token = '';
    before(async () => {
      await cluster().ok('node', 'create', 'a', '--storage', '128M', '--mem', '256M');
      await cluster().ok('node', 'create', 'small', '--storage', '64M', '--mem', '128M');
      gateway = await GatewayClient.of(cluster());
      token = await gateway.register('ann');
    });

    const run = (code: string, ...flags: string[]): Promise<Ended> =>
      cluster().runWith({ input: code }, 'lambda', 'run', '-', '--timeout', '60s', ...flags);
    /** Code that has said its first word: it counts as running a while before that. */
    const begun = async (code: string, ...flags: string[]): Promise<{ ended: Promise<Ended> }> => {
      const line = [CLI, 'lambda', 'run', '-', '--timeout', '60s', ...flags];
      const child = spawn(process.execPath, line, { env: cluster().env });
      const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => {
        const said = { text: '' };
        stream.on('data', (data: Buffer) => (said.text += data.toString('utf8')));
        return said;
      });
      const ended = once(child, 'close').then(([code]) => ({
        code: Number(code),
        stdout: stdout?.text ?? '',
        stderr: stderr?.text ?? '',
      }));
      child.stdin.end(code);
      await Promise.race([once(child.stdout, 'data'), ended]);
      return { ended };
    };
    const runningIs = (count: number): Promise<unknown> =>
      eventually(
        () => cluster().json<{ running: number; queue_length: number }>('lambda', 'stats'),
        ({ running, queue_length: waiting }) => running + waiting === count,
      );
    const post = (body: string): Promise<Answer> =>
      gateway.call('POST', '/api/lambda/run', { token, body, headers: { 'content-type': 'application/json' } });

    it('lets a neighbour live, whatever code uses up in many small processes', async () => {
      const neighbour = run(NEIGHBOUR, '--node', 'a', '--mem', '64');
      await runningIs(1);
      const hog = await run(MANY_SMALL, '--node', 'a', '--mem', '150');
      expect(hog.stderr).to.contain('ended at its memory limit');
      expect(hog.code).to.equal(137);
      expect(await neighbour).to.deep.equal({ code: 0, stdout: 'up\nlived\n', stderr: '' });
    });

    it('does not blame code for the memory of a small node, which is there again at once', async () => {
      const alone = await run(MANY_SMALL, '--node', 'small', '--mem', '128');
      expect(alone.code).to.equal(5);
      expect(alone.stderr).to.contain('node small ran out of memory before the code reached its limit of 128 MB');
      expect(await run('print(1)', '--node', 'small')).to.deep.equal({ code: 0, stdout: '1\n', stderr: '' });
    });

    it('says that the sandboxes were started anew when their launcher is killed', async () => {
      const running = run(sleeping(50));
      await runningIs(1);
      for (const pid of launchersOf(cluster().controllerPid)) process.kill(pid, 'SIGKILL');
      const { code, stderr } = await running;
      expect(code).to.equal(5);
      expect(stderr).to.contain('restarted').and.not.contain('went away');
      expect(await run('print(1)')).to.include({ code: 0, stdout: '1\n' });
    });

    it('waits for what runs on a node that is drained, and ends it on one that is removed', async () => {
      await cluster().ok('node', 'create', 'brief', '--storage', '64M', '--mem', '128M');
      const short = await begun(sleeping(2), '--node', 'brief');
      await cluster().ok('node', 'drain', 'brief');
      expect(await short.ended).to.include({ code: 0, stdout: 'up\ndone\n' });
      await cluster().ok('node', 'uncordon', 'brief');
      const long = await begun(sleeping(50), '--node', 'brief');
      await cluster().ok('node', 'rm', 'brief');
      const { code, stderr } = await long.ended;
      expect(code).to.equal(5);
      expect(stderr).to.contain('node brief went away');
    });

    it('refuses beyond the queue, over REST with a time to come back', async () => {
      const gone = new AbortController();
      const start = (): Promise<unknown> =>
        cluster().runWith({ input: sleeping(50), signal: gone.signal }, 'lambda', 'run', '-', '--timeout', '60s');
      const busy = [start(), start(), start()].map((one) => one.catch(() => undefined));
      await runningIs(3);
      const refused = await post('{"code": "print(1)"}');
      expect(refused.status).to.equal(429);
      expect(Number(refused.headers.get('retry-after'))).to.be.at.least(1);
      expect(refused.json['code']).to.equal('resource_exhausted');
      gone.abort();
      await Promise.all(busy);
      await runningIs(0);
    });

    it('hands an event of REST on as it was written, and names the fields of the body', async () => {
      const event = '{"a": 1.0, "b": 12345678901234567890}';
      const code = JSON.stringify('def handler(event): return event');
      const handed = await post(`{"event":${event},"code":${code}}`);
      expect(handed.headers.get('content-type')).to.equal('application/json; charset=utf-8');
      expect(handed.text).to.contain(`,"result": ${event}}`);
      expect(handed.json).to.include({ stdout: '', reason: 'exit', exit_code: 0 });
      const without = await post('{"code":"print(1)"}');
      expect(without.json).to.include({ stdout: '1\n' }).and.not.have.property('result');
      const late = await post('{"code":"while 1: pass","timeout_ms":300}');
      expect(late.json, 'as the command exits').to.include({ reason: 'timeout', exit_code: 124 });
      for (const [levels, error] of [
        [230, 'event: must not be nested deeper than 200'],
        [5000, 'body: must be nested at most 256 levels deep'],
      ] as const) {
        const deep = await post(`{"code":${code},"event":${'['.repeat(levels)}${']'.repeat(levels)}}`);
        expect(deep.status).to.equal(400);
        expect(deep.json).to.deep.include({ error });
      }
      const much = await post(`{"code":${code},"memory_mb":9999}`);
      expect(much.json['details']).to.include({ field: 'memory_mb' });
    });

    it('takes no files that are too large, are not there, or are somebody else’s', async () => {
      const nine = Buffer.alloc(9 * 1024 * 1024, 'x');
      await cluster().runWith({ input: nine }, 'fs', 'upload', '-', '/nine');
      await cluster().runWith({ input: 'words' }, 'fs', 'upload', '-', '/own');
      const large = await run('print(1)', '--file', '/nine');
      expect(large.code).to.equal(4);
      expect(large.stderr).to.contain('an invocation takes 8388608 at most');
      expect(await run('print(1)', '--file', '/none')).to.include({ code: 3 });
      expect(await run('print(1)', '--file', '/own')).to.include({ code: 0 });
      expect(await run('print(1)', '--file', '/own', '--as', 'ann')).to.include({ code: 3 });
      const flood = await cluster().runWith({ input: nine }, 'lambda', 'invoke', 'none', '--stdin');
      expect(flood.code).to.equal(2);
    });

    it('lists functions beside one whose files were changed, which it does not run', async () => {
      const deploy = (name: string): Promise<Ended> =>
        cluster().runWith({ input: 'print("whole")' }, 'lambda', 'deploy', name, '-', '-o', 'json');
      const { version } = JSON.parse((await deploy('one')).stdout) as { version: string };
      await deploy('two');
      const limits = { version, timeout_ms: 10 ** 9, memory_mb: 64, size: 1, deployed_at: 1 };
      const put = (path: string, input: string): Promise<Ended> =>
        cluster().runWith({ input }, 'fs', 'upload', '-', `/.functions/one/${path}`, '--overwrite');
      // As a deployment writes it, but for its size.
      const long = JSON.stringify({ ...limits, timeout_ms: 1000 }).padEnd(5000, ' ');
      for (const manifest of ['{', JSON.stringify(limits), long]) {
        await put('manifest.json', manifest);
        const listed = await cluster().json<{ name: string; problem: string }[]>('lambda', 'ls');
        expect(listed.map(({ name }) => name)).to.deep.equal(['one', 'two']);
        expect(listed.map(({ problem }) => problem !== '')).to.deep.equal([true, false]);
        expect(await cluster().run('lambda', 'invoke', 'one')).to.include({ code: 4 });
      }
      await deploy('one');
      await put(`${version}.py`, 'print("changed")');
      expect(await cluster().run('lambda', 'invoke', 'one')).to.include({ code: 4 });
      await deploy('one');
      expect(await cluster().run('lambda', 'invoke', 'one')).to.include({ code: 0, stdout: 'whole\n' });
    });
  },
);

/** Python among the controller's children. */
function launchersOf(controllerPid: number): number[] {
  const text = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => text(`/proc/${pid}/status`).includes(`PPid:\t${controllerPid}\n`))
    .filter((pid) => text(`/proc/${pid}/cmdline`).includes('/mnt/launcher.py'))
    .map(Number);
}
