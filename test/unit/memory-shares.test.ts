import { expect } from 'chai';
import fc from 'fast-check';
import { memoryShares } from '../../controller/hosting/contained/memory-shares.js';
import { MIB, MIN_MEMORY_MB } from '../../shared/limits.js';

describe('shares of a node’s memory', () => {
  it('leave the agent its part, and commands room beside all that outlives them', () => {
    fc.assert(
      fc.property(fc.integer({ min: MIN_MEMORY_MB, max: 1 << 20 }), (memoryMb) => {
        const { commandsBytes, tmpBytes, sharedBytes, segmentsBytes } = memoryShares(memoryMb * MIB);
        expect(memoryMb * MIB - commandsBytes).to.be.at.least(Math.min(48, memoryMb / 3) * MIB);
        expect(tmpBytes + sharedBytes + segmentsBytes).to.be.at.most(commandsBytes / 2);
        for (const bytes of [tmpBytes, sharedBytes, segmentsBytes]) expect(bytes % 4096, 'whole pages').to.equal(0);
      }),
    );
  });

  it('are these for a node of 128 MB', () => {
    expect(memoryShares(128 * MIB)).to.deep.equal({
      commandsBytes: 80 * MIB,
      tmpBytes: 20 * MIB,
      sharedBytes: 10 * MIB,
      segmentsBytes: 10 * MIB,
      socketsBytes: 32 * MIB,
      commandSocketsBytes: 16 * MIB,
    });
  });
});
