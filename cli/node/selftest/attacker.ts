/** Carries out steps of attacks on a node, and makes the nodes that the suite harms. */
import { randomBytes } from 'node:crypto';
import { within } from '../../../shared/async/wait.js';
import type { Settings } from '../../../shared/config/settings.js';
import { NexusError, toNexusError } from '../../../shared/errors.js';
import { ExecInNodeRequest } from '../../../shared/gen/nexus/v1/node.js';
import type { Controller } from '../../connect/connection.js';
import { SLOW_DEADLINE_MS } from '../../connect/connection.js';
import type { Context } from '../../runner/context.js';
import { expectNode } from '../node-text.js';
import type { Step, StepResult } from './attack.js';
import { surroundingsOf, type NodeJson, type Surroundings } from './surroundings.js';

/** Small, so that it is used up soon; python3 and its bombs need some. */
const OWN_NODE = {
  memoryMb: 128,
  storageSize: 64n * 1024n * 1024n,
  pidsLimit: 128,
  image: 'base',
  cpuShares: 0,
  labels: { purpose: 'selftest' },
};
/** Time limit of one program; most take a fraction of a second. */
const STEP_MS = 180_000;
const MOST_OUTPUT_BYTES = 1024 * 1024;

export class Attacker implements Disposable {
  private constructor(
    private readonly controller: Controller,
    private readonly surroundings: Surroundings,
  ) {}

  /** Codes: those of GetNode; failed_precondition (the node does not run, or its network is not this machine's). */
  static async on(controller: Controller, settings: Settings, node: string, neighbour?: string): Promise<Attacker> {
    const find = async (name: string): Promise<NodeJson> => {
      const answer = await controller.call(controller.node, controller.node.getNode, { node: name });
      const { id, name: full, status, ip, dataAddress, agentStartedAt } = expectNode(answer.node);
      return { id, name: full, status, ip, dataAddress, agentStartedAt };
    };
    const found = await find(node);
    if (found.status !== 'Running')
      throw new NexusError(
        'failed_precondition',
        `node ${found.name} is ${found.status}; start it with: nexus node start ${found.name}`,
      );
    return new Attacker(
      controller,
      await surroundingsOf({
        instance: settings.instance,
        socket: settings.socket,
        node: found,
        neighbour: neighbour === undefined ? null : await find(neighbour),
      }),
    );
  }

  get name(): string {
    return this.#facts.node.name;
  }

  /** Code: failed_precondition (python3 is not there). */
  async prepare(): Promise<void> {
    const { exitCode } = await this.#run(this.#facts.node, ['python3', '-c', 'import ctypes'], 0);
    if (exitCode !== 0)
      throw new NexusError(
        'failed_precondition',
        `node ${this.name} has no python3, in which the attacks are written; leave the name out to try a node of the base image`,
      );
  }

  async carryOut(step: Step): Promise<StepResult> {
    const answer = (stdout: string): StepResult => ({ stdout, stderr: '', exitCode: 0 });
    switch (step.kind) {
      case 'look':
        return answer(await step.look(this.surroundings));
      case 'ask':
        return answer(await this.#ask(this.#at(step.at)));
      case 'restart': {
        const { node: client } = this.controller;
        await this.controller.call(client, client.restartNode, { node: this.#facts.node.id }, SLOW_DEADLINE_MS);
        return answer(await this.#ask(this.#facts.node));
      }
      case 'code': {
        const command = ['python3', '-c', step.code, JSON.stringify(this.#facts)];
        return await this.#run(this.#at(step.at), command, step.uid ?? 0);
      }
    }
  }

  [Symbol.dispose](): void {
    this.surroundings[Symbol.dispose]();
  }

  get #facts(): Surroundings['facts'] {
    return this.surroundings.facts;
  }

  #at(place: 'neighbour' | undefined): NodeJson {
    const { node, neighbour } = this.#facts;
    if (place === undefined) return node;
    if (neighbour === null) throw new NexusError('internal', 'an attack needs a second node');
    return neighbour;
  }

  async #ask({ id }: NodeJson): Promise<string> {
    const { node: client, call } = this.controller;
    const { status, agentStartedAt } = expectNode((await call(client, client.getNode, { node: id })).node);
    // An agent that does not answer is what an attack may have led to: that is for its judge.
    const answered =
      status !== 'Running'
        ? true
        : await call(client, client.inspectAgent, { node: id }).then(
            () => true,
            () => false,
          );
    return JSON.stringify({ status: answered ? status : 'silent', agentStartedAt });
  }

  async #run({ id }: NodeJson, command: readonly string[], uid: number): Promise<StepResult> {
    const stream = this.controller.node.execInNode();
    const start = {
      node: id,
      command: [...command],
      tty: false,
      stdin: false,
      columns: 0,
      rows: 0,
      env: {},
      uid,
      workingDir: '',
    };
    stream.write(ExecInNodeRequest.fromPartial({ start }));
    try {
      return await within(STEP_MS, undefined, () => this.#collect(stream));
    } finally {
      stream.end();
      stream.cancel();
    }
  }

  async #collect(stream: ReturnType<Controller['node']['execInNode']>): Promise<StepResult> {
    const said = { stdout: '', stderr: '' };
    for await (const message of this.controller.messages(stream) as AsyncGenerator<{
      stdout?: Buffer;
      stderr?: Buffer;
      exitCode?: number;
    }>) {
      for (const name of ['stdout', 'stderr'] as const)
        said[name] = (said[name] + (message[name]?.toString('utf8') ?? '')).slice(-MOST_OUTPUT_BYTES);
      if (message.exitCode !== undefined) return { ...said, exitCode: message.exitCode };
    }
    throw new NexusError('cancelled', 'interrupted');
  }
}

/** Removes the nodes whatever happens, an interrupt included. */
export async function withOwnNodes(
  controller: Controller,
  context: Context,
  work: (attacker: Attacker) => Promise<void>,
): Promise<void> {
  const { node: client } = controller;
  const tag = randomBytes(4).toString('hex');
  const names = [`selftest-${tag}-a`, `selftest-${tag}-b`] as const;
  try {
    for (const name of names) await controller.call(client, client.createNode, { ...OWN_NODE, name }, SLOW_DEADLINE_MS);
    using attacker = await Attacker.on(controller, context.settings, ...names);
    await work(attacker);
  } finally {
    for (const name of names) {
      const removed = controller.callDetached(client, client.removeNode, { node: name, force: true }, SLOW_DEADLINE_MS);
      await removed.catch((error: unknown) => {
        const { code, message } = toNexusError(error);
        if (code !== 'not_found')
          context.note(`node ${name} stays: ${message}; remove it with: nexus node rm --force ${name}`);
      });
    }
  }
}
