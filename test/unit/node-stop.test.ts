import { expect } from 'chai';
import { NODE_REQUEST, NodeBench } from '../support/nodes.js';

describe('the stop of a node', () => {
  it('reaches the agent, with what is left of the grace in whole milliseconds', async () => {
    const bench = await NodeBench.open();
    try {
      await bench.service.create(NODE_REQUEST, new AbortController().signal);
      await bench.service.stop('web', 1500);
      const graces = bench.asked.map(({ shutdown }) => shutdown?.graceMs ?? 0);
      expect(graces).to.have.length(1);
      expect(graces[0]).to.be.within(1000, 1500);
    } finally {
      await bench.dispose();
    }
  });
});
