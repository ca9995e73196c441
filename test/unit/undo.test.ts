import { expect } from 'chai';
import { createLogger } from '../../shared/log.js';
import { UndoStack } from '../../shared/async/undo.js';

const log = createLogger('test', 'silent');

describe('the undo stack', () => {
  const work = async (fail: boolean, commit: boolean): Promise<string[]> => {
    const ran: string[] = [];
    {
      await using undo = new UndoStack(log);
      undo.defer('first', async () => {
        await Promise.resolve(ran.push('first'));
      });
      undo.defer('second', async () => {
        await Promise.resolve(ran.push('second'));
        if (fail) throw new Error('cannot undo');
      });
      if (commit) undo.commit();
    }
    return ran;
  };

  it('runs the inverses newest first', async () => {
    expect(await work(false, false)).to.deep.equal(['second', 'first']);
  });

  it('runs all of them even when one fails', async () => {
    expect(await work(true, false)).to.deep.equal(['second', 'first']);
  });

  it('runs none after a commit', async () => {
    expect(await work(false, true)).to.deep.equal([]);
  });
});
