/**
 * The gateway against what it is built on, in one run: 1 GiB up and down against the CLI's direct path, requests a second
 * of a listing and of a token check against a bare Koa application, and 200 clients for a minute. The figures of the
 * processes stand beside them.
 */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import autocannon from 'autocannon';
import Koa from 'koa';
import type { AddressInfo } from 'node:net';
import { runCommand } from '../../shared/exec.js';
import { GIB } from '../../shared/limits.js';
import { TestCluster } from '../support/cluster.js';
import { GatewayClient } from '../support/gateway.js';
import { print, printTimes, timed } from './figures.js';
import { writeRandomFile } from './random-file.js';

const RUNS = 3;
const SIZE_BYTES = GIB;
const RATE_SECONDS = 8;
const RATE_CONNECTIONS = 20;
const LOAD_SECONDS = 60;
const LOAD_CLIENTS = 200;

export async function benchGateway(): Promise<void> {
  const env = { NEXUS_QUOTA_MB: '0', NEXUS_LOG_LEVEL: 'warn' };
  const cluster = await TestCluster.start({ gateway: true, env });
  try {
    const gateway = await GatewayClient.of(cluster);
    const token = await gateway.register('bench');
    for (const name of ['a', 'b', 'c']) await cluster.ok('node', 'create', name, '--mem', '256M', '--storage', '3G');
    await benchBytes(cluster, gateway, token);
    await benchRates(gateway, token);
    await benchLoad(cluster, gateway, token);
  } finally {
    for (const line of await cluster.dispose()) print(`LEFT BEHIND: ${line}`);
  }
}

async function benchBytes(cluster: TestCluster, { url }: GatewayClient, token: string): Promise<void> {
  const source = join(cluster.folder, 'source');
  const copy = join(cluster.folder, 'copy');
  writeRandomFile(source, SIZE_BYTES);
  const times = { up: [] as number[], down: [] as number[], directUp: [] as number[], directDown: [] as number[] };
  const curl = (...args: string[]): Promise<{ stdout: string }> =>
    runCommand('curl', ['-sSf', '-H', `Authorization: Bearer ${token}`, ...args], {
      failure: 'the bench cannot go on',
      timeoutMs: 300_000,
    });
  for (let run = 0; run < RUNS; run += 1) {
    let id = '';
    times.directUp.push(
      await timed(async () => {
        ({ id } = JSON.parse(await cluster.typedOk('file', 'upload', source, '-o', 'json')) as { id: string });
      }),
    );
    times.directDown.push(await timed(() => cluster.typedOk('file', 'download', id, copy)));
    await cluster.ok('file', 'rm', id);
    await runCommand('rm', [copy]);
    times.up.push(
      await timed(async () => {
        const { stdout } = await curl('-X', 'POST', '-T', source, `${url}/api/files/upload?name=source`);
        ({ id } = JSON.parse(stdout) as { id: string });
      }),
    );
    times.down.push(await timed(() => curl('-o', copy, `${url}/api/files/${id}/download`)));
    await runCommand('cmp', [source, copy], { failure: 'the bench cannot go on', timeoutMs: 120_000 });
    await curl('-X', 'DELETE', `${url}/api/files/${id}`);
    await runCommand('rm', [copy]);
  }
  printTimes('1 GiB up through the gateway', times.up, { name: 'the direct path', timesMs: times.directUp });
  printTimes('1 GiB down through the gateway', times.down, { name: 'the direct path', timesMs: times.directDown });
}

async function benchRates({ url }: GatewayClient, token: string): Promise<void> {
  const bare = new Koa();
  bare.use((context) => {
    context.body = { hello: 'world' };
  });
  const server = bare.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const hello = await rate(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, token);
    print(`a bare Koa application: ${hello.toFixed(0)} requests/s`);
    for (const path of ['/healthz', '/api/fs/ls', '/auth/whoami']) {
      const found = await rate(`${url}${path}`, token);
      print(`GET ${path}: ${found.toFixed(0)} requests/s, ${(found / hello).toFixed(2)} x the bare application`);
    }
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

async function rate(url: string, token: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  const result = await autocannon({ url, headers, connections: RATE_CONNECTIONS, duration: RATE_SECONDS });
  if (result.non2xx > 0 || result.errors > 0) print(`${url}: ${result.non2xx} refused, ${result.errors} failed`);
  return result.requests.average;
}

async function benchLoad(cluster: TestCluster, { url }: GatewayClient, token: string): Promise<void> {
  const { gateway } = await cluster.json<{ gateway: { pid: number } }>('status');
  const headers = { authorization: `Bearer ${token}` };
  print(`before the load: ${processFigures(gateway.pid)}`);
  let number = 0;
  const result = await autocannon({
    url,
    headers,
    connections: LOAD_CLIENTS,
    duration: LOAD_SECONDS,
    timeout: 60,
    requests: [
      { method: 'GET', path: '/api/fs/ls' },
      { method: 'GET', path: '/api/files?page_size=20' },
      {
        method: 'POST',
        body: 'x'.repeat(2000),
        setupRequest: (request) => {
          number += 1;
          return { ...request, path: `/api/fs/upload?overwrite=true&path=/load-${number % 500}` };
        },
      },
      { method: 'GET', path: '/auth/whoami' },
    ],
  });
  print(
    `${LOAD_CLIENTS} clients for ${LOAD_SECONDS} s: ${result.requests.total} requests, p50 ${result.latency.p50} ms, ` +
      `p99 ${result.latency.p99} ms, 5xx ${result['5xx']}, other refusals ${result['4xx']}, broken ${result.errors}`,
  );
  print(`after the load: ${processFigures(gateway.pid)}`);
}

function processFigures(pid: number): string {
  const kilobytes = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return `${(kilobytes / 1024).toFixed(0)} MB resident, ${readdirSync(`/proc/${pid}/fd`).length} files open`;
}
