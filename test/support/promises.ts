/**
 * Writers that go on while something is done to the cluster, and what the cluster answered: all that it acknowledged must
 * be there afterwards, and nothing that it refused.
 */
import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { expect } from 'chai';
import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { FsServiceClient, type GetQuotaResponse } from '../../shared/gen/nexus/v1/fs.js';
import { IdentityServiceClient } from '../../shared/gen/nexus/v1/identity.js';
import { eventually, type NodeJson, type TestCluster } from './cluster.js';

const CALL_TIMEOUT_MS = 30_000;
const CONTENTS_READ = 3;
const REST_TIMEOUT_MS = 60_000;

/** Numbers from 0 up to 1. The seed is printed; NEXUS_PROMISES_SEED repeats it. */
export function seededChance(): () => number {
  const seed = Number(process.env['NEXUS_PROMISES_SEED'] ?? randomInt(1_000_000));
  process.stdout.write(`    NEXUS_PROMISES_SEED=${seed}\n`);
  // Mulberry32.
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Pauses of a random length between two bounds, ms. */
export function randomPauses(chance = seededChance()): (low: number, high: number) => Promise<void> {
  return (low, high) => delay(low + chance() * (high - low));
}

/** The cluster said itself that it does not know, or nothing in time. */
const isUnknown = (error: string): boolean => error.includes('is not known') || error.includes('Deadline exceeded');

type Answer<T> = (error: ServiceError | null, value: T) => void;

/** What one writer asked for, by name. */
class Ledger {
  readonly kept = new Set<string>();
  readonly refused = new Set<string>();
  readonly unknown = new Set<string>();

  note(name: string, error: string | undefined): void {
    if (error === undefined) this.kept.add(name);
    else if (isUnknown(error)) this.unknown.add(name);
    else this.refused.add(name);
  }

  /** `found` are those that the cluster shows. */
  check(what: string, found: readonly string[]): void {
    const wrong = {
      lost: [...this.kept].filter((name) => !found.includes(name)),
      refusedButThere: [...this.refused].filter((name) => found.includes(name)),
      strange: found.filter((name) => ![this.kept, this.refused, this.unknown].some((set) => set.has(name))),
    };
    expect(wrong, what).to.deep.equal({ lost: [], refusedButThere: [], strange: [] });
  }
}

export class Writers {
  readonly folders = new Ledger();
  readonly accounts = new Ledger();
  readonly files = new Ledger();
  readonly nodes = new Ledger();
  readonly #contents = new Map<string, Buffer>();
  /** The limit of one account, in MB. */
  readonly #quota = { set: 0, doubtful: new Set<number>() };
  readonly #fs: FsServiceClient;
  readonly #identity: IdentityServiceClient;
  #stopped = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly cluster: TestCluster,
    private readonly maxNodes: number,
  ) {
    const target = `unix:${cluster.socket}`;
    this.#fs = new FsServiceClient(target, credentials.createInsecure());
    this.#identity = new IdentityServiceClient(target, credentials.createInsecure());
  }

  async start(): Promise<void> {
    expect(await this.#makeAccount(QUOTA_OWNER)).to.equal(undefined);
    // Often enough that whatever happens meets some of them, and the processor is not all theirs.
    this.#running = Promise.all([
      this.#repeat('d', 20, this.folders, (name) => this.#makeFolder(name)),
      this.#repeat('e', 5, this.folders, (name) => this.#makeFolder(name)),
      this.#repeat('u', 200, this.accounts, (name) => this.#makeAccount(name)),
      this.#repeat('f', 100, this.files, (name) => this.#upload(name)),
      this.#repeat('n', 500, this.nodes, (name) => this.#makeNode(name)),
      this.#setQuotas(),
    ]);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Also of a test that failed: its process could not end. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#fs.close();
    this.#identity.close();
  }

  /** Everything is as it was answered. `others` are nodes that were there before. */
  async check(others: readonly string[]): Promise<void> {
    const entries = await this.cluster.json<{ name: string; type: string }[]>('fs', 'ls', '/');
    const names = (type: string): string[] => entries.filter((entry) => entry.type === type).map((entry) => entry.name);
    this.folders.check('folders', names('folder'));
    this.files.check('files', names('file'));
    const users = await this.cluster.json<{ username: string }[]>('user', 'ls');
    this.accounts.check(
      'accounts',
      users.map((user) => user.username).filter((name) => /^u\d+$/.test(name)),
    );
    // What was cut off in the middle is brought to rest by the cluster itself.
    const nodes = await eventually(
      () => this.cluster.json<NodeJson[]>('node', 'ls'),
      (seen) => seen.every((node) => !['Creating', 'Stopping', 'Removing'].includes(node.status)),
      REST_TIMEOUT_MS,
    );
    const made = nodes.filter((node) => !others.includes(node.name));
    this.nodes.check(
      'nodes',
      made.map((node) => node.name),
    );
    expect(
      nodes.filter((node) => node.status !== 'Running').map((node) => `${node.name} ${node.status}`),
    ).to.deep.equal([]);
    const asked = { username: QUOTA_OWNER, recount: false };
    const { limit } = await call<GetQuotaResponse>((done) => this.#fs.getQuota(asked, ...within(), done));
    expect([this.#quota.set, ...this.#quota.doubtful], 'the quota').to.include(Number(limit) / MB);
    // Each takes a process: the newest are those that could have been cut off.
    for (const name of [...this.files.kept].slice(-CONTENTS_READ)) {
      const target = join(this.cluster.folder, 'back');
      rmSync(target, { force: true });
      await this.cluster.ok('fs', 'download', `/${name}`, target);
      expect(readFileSync(target).equals(this.#contents.get(name) ?? Buffer.alloc(0)), name).to.equal(true);
    }
  }

  async #repeat(
    prefix: string,
    pauseMs: number,
    ledger: Ledger,
    make: (name: string) => Promise<string | undefined>,
  ): Promise<void> {
    for (let number = 0; !this.#stopped; number += 1) {
      const name = `${prefix}${number}`;
      if (ledger === this.nodes && ledger.kept.size + ledger.unknown.size >= this.maxNodes) return;
      ledger.note(name, await make(name));
      await delay(pauseMs);
    }
  }

  #makeFolder(name: string): Promise<string | undefined> {
    return refusal(call((done) => this.#fs.makeFolder({ path: `/${name}`, parents: false }, ...within(), done)));
  }

  #makeAccount(username: string): Promise<string | undefined> {
    const request = { username, email: `${username}@example.org`, password: 'correct horse battery', role: 'user' };
    return refusal(call((done) => this.#identity.createUser(request, ...within(), done)));
  }

  async #upload(name: string): Promise<string | undefined> {
    const content = randomBytes(20_000);
    this.#contents.set(name, content);
    const source = join(this.cluster.folder, 'source');
    writeFileSync(source, content);
    const { code, stderr } = await this.cluster.run('fs', 'upload', source, `/${name}`);
    return code === 0 ? undefined : stderr;
  }

  async #makeNode(name: string): Promise<string | undefined> {
    const { code, stderr } = await this.cluster.run('node', 'create', name, '--mem', '64', '--storage', '32M');
    return code === 0 ? undefined : stderr;
  }

  async #setQuotas(): Promise<void> {
    for (let megabytes = 1; !this.#stopped; megabytes += 1) {
      const request = { username: QUOTA_OWNER, limit: BigInt(megabytes * MB) };
      const error = await refusal(call((done) => this.#fs.setQuota(request, ...within(), done)));
      if (error === undefined) {
        this.#quota.set = megabytes;
        this.#quota.doubtful.clear();
      } else if (isUnknown(error)) this.#quota.doubtful.add(megabytes);
      await delay(20);
    }
  }
}

const MB = 1024 * 1024;
const QUOTA_OWNER = 'quotas';

const within = (): [Metadata, { deadline: number }] => [new Metadata(), { deadline: Date.now() + CALL_TIMEOUT_MS }];

const call = <T>(make: (done: Answer<T>) => unknown): Promise<T> =>
  new Promise((resolve, reject) => {
    make((error, value) => {
      if (error === null) resolve(value);
      else reject(error);
    });
  });

const refusal = (work: Promise<unknown>): Promise<string | undefined> =>
  work.then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
