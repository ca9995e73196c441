/**
 * Removes the device nodes of loop devices, which the kernel otherwise keeps after detaching. No command does so, hence the
 * ioctl in perl. The kernel takes some 50 ms for each, during which nothing else of a node's removal has to wait. One
 * process serves all removals of a burst, because to start one costs a controller with its memory more than all the rest. It
 * finishes what it was told when the controller is killed, and ends soon after the last removal.
 */
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import { after, cancel } from '../../../shared/async/timers.js';
import { deferred, endsWithin } from '../../../shared/async/wait.js';
import { startChild } from '../../../shared/exec.js';

/** LOOP_CTL_REMOVE, linux/loop.h. */
const LOOP_CTL_REMOVE = 0x4c81;
/** The script tries for two seconds; more means that the kernel's lock of all loop devices is held. */
const ANSWER_TIMEOUT_MS = 10_000;
const IDLE_MS = 1000;

/**
 * A process for each device: the kernel's waits for several at once are one. A device is briefly busy while another
 * process reads it, as every `losetup --list` on the host does.
 */
const SCRIPT = [
  '$| = 1;',
  '$SIG{CHLD} = "IGNORE";',
  'open(my $control, "+<", "/dev/loop-control") or exit 1;',
  'while (my $device = <STDIN>) {',
  '  next if fork;',
  '  for (1 .. 100) {',
  '    last if ioctl($control, $ARGV[0], int($device)) || !$!{EBUSY};',
  '    select(undef, undef, undef, 0.02);',
  '  }',
  '  print($device);',
  '  exit;',
  '}',
].join('\n');

interface Helper {
  readonly input: Writable;
  /** By the device. */
  readonly waiting: Map<number, () => void>;
  /** Runs from the last removal on. */
  readonly idle: NodeJS.Timeout;
}

export class LoopRemover {
  #helper: Helper | undefined;
  readonly #pending = new Map<number, Promise<void>>();

  /** Resolves when there is no such device. Never rejects: a device node without a backing file costs nothing. */
  async remove(loopDevice: number): Promise<void> {
    const begun = this.#pending.get(loopDevice);
    if (begun !== undefined) {
      await begun;
      return;
    }
    if (!existsSync(`/sys/block/loop${loopDevice}`)) return;
    const removal = this.#ask(loopDevice).finally(() => this.#pending.delete(loopDevice));
    this.#pending.set(loopDevice, removal);
    await removal;
  }

  /** Waits for the removal of the device that has begun; undefined: of all. */
  async settled(loopDevice?: number): Promise<void> {
    if (loopDevice === undefined) await Promise.all(this.#pending.values());
    else await this.#pending.get(loopDevice);
  }

  async #ask(loopDevice: number): Promise<void> {
    const helper = (this.#helper ??= this.#start());
    helper.idle.refresh();
    const { promise, resolve } = deferred();
    helper.waiting.set(loopDevice, resolve);
    helper.input.write(`${loopDevice}\n`);
    await endsWithin(ANSWER_TIMEOUT_MS, promise);
    helper.waiting.delete(loopDevice);
  }

  #start(): Helper {
    const child = startChild('perl', ['-MErrno', '-e', SCRIPT, String(LOOP_CTL_REMOVE)], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const idle = after(IDLE_MS, () => this.#end(helper));
    const helper: Helper = { input: child.stdin, waiting: new Map(), idle };
    createInterface({ input: child.stdout }).on('line', (device) => helper.waiting.get(Number(device))?.());
    // It may end before it has read.
    child.stdin.on('error', () => undefined);
    for (const event of ['error', 'close']) {
      child.once(event, () => {
        this.#end(helper);
        for (const resolve of helper.waiting.values()) resolve();
      });
    }
    return helper;
  }

  /** It answers to what it was told, and then ends. Idempotent. */
  #end(helper: Helper): void {
    if (this.#helper === helper) this.#helper = undefined;
    cancel(helper.idle);
    helper.input.end();
  }
}
