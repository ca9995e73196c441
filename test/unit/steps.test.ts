/** Named steps: their order, groups that run at once, what is undone when one fails, and the times. */
import { expect } from 'chai';
import {
  namesOf,
  runSteps,
  stepsInWords,
  type Step,
  type Steps,
  type StepTime,
} from '../../controller/node/life/steps.js';
import { deferred } from '../../shared/async/wait.js';
import { systemClock } from '../../shared/async/clock.js';
import { UndoStack } from '../../shared/async/undo.js';
import { NexusError } from '../../shared/errors.js';
import { createLogger } from '../../shared/log.js';
import { errorOf } from '../support/codes.js';

const log = createLogger('test', 'silent');

describe('steps', () => {
  let done: string[];
  beforeEach(() => {
    done = [];
  });

  const step = (name: string, run: () => Promise<void> | void = () => undefined): Step<undefined> => ({
    name,
    do: async () => {
      done.push(`begin ${name}`);
      await run();
      done.push(`end ${name}`);
    },
    undo: {
      [`undo ${name}`]: async () => {
        done.push(`undo ${name}`);
      },
    },
  });
  const run = async (steps: Steps<undefined>): Promise<readonly StepTime[]> => {
    await using undo = new UndoStack(log);
    const times = await runSteps('test', steps, undefined, { undo, clock: systemClock, log, about: {} });
    undo.commit();
    return times;
  };

  it('run one after the other, those of a group at once; times are in the order of the list', async () => {
    const other = deferred();
    const group = [step('a', () => other.promise), step('b', () => other.resolve())];
    const steps = [step('first'), group, step('last')];
    const times = await run(steps);
    expect(done).to.deep.equal([
      ...['begin first', 'end first', 'begin a', 'begin b'],
      ...['end a', 'end b', 'begin last', 'end last'],
    ]);
    expect(times.map(({ name }) => name)).to.deep.equal(namesOf(steps));
    expect(stepsInWords([{ name: 'a', ms: 1.4 }])).to.equal('a 1 ms');
  });

  it('of a group all end before the failure of one is told, and all are undone in reverse order', async () => {
    const failed = deferred();
    const group = [
      step('a', () => {
        failed.resolve();
        throw new NexusError('unavailable', 'told to fail');
      }),
      step('b', () => failed.promise),
    ];
    const error = await errorOf(() => run([step('first'), group, step('last')]));
    expect(error).to.include({ code: 'unavailable', message: 'told to fail' });
    expect(done).to.deep.equal([
      ...['begin first', 'end first', 'begin a', 'begin b', 'end b'],
      ...['undo b', 'undo a', 'undo first'],
    ]);
  });
});
