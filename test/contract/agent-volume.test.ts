/** What every volume tells its agent: figures that add up, whatever is stored, and a failure only of the volume itself. */
import { expect } from 'chai';
import type { Volume } from '../../agent/volume/port.js';
import { toNexusError } from '../../shared/errors.js';
import { MIB } from '../../shared/limits.js';
import { AGENT_VOLUMES, VOLUME_BYTES, type OpenedAgentVolume } from '../support/agent-ports.js';
import { codeOf } from '../support/codes.js';
import { skipWithoutSystem } from '../support/system.js';

for (const { name, needsRoot, open } of AGENT_VOLUMES) {
  describe(`agent's volume, ${name}`, () => {
    let opened: OpenedAgentVolume;
    let volume: Volume;

    before(function () {
      if (needsRoot) skipWithoutSystem(this);
    });
    beforeEach(async () => {
      opened = await open();
      ({ volume } = opened);
    });
    afterEach(async () => {
      expect(await opened.dispose(), 'left on the host').to.deep.equal([]);
    });

    it('is empty and whole at first', async () => {
      const { totalBytes, usedBytes, freeBytes } = await volume.usage();
      expect(totalBytes).to.equal(VOLUME_BYTES);
      expect(usedBytes).to.be.below(MIB);
      expect(freeBytes).to.be.greaterThan(VOLUME_BYTES - MIB);
      expect(volume.dataDir).to.match(/^\//);
    });

    it('counts what is stored as used and no longer free', async () => {
      const before = await volume.usage();
      await opened.store(3 * MIB);
      const after = await volume.usage();
      expect(after.totalBytes).to.equal(before.totalBytes);
      expect(after.usedBytes - before.usedBytes).to.be.at.least(3 * MIB);
      expect(before.freeBytes - after.freeBytes).to.be.at.least(3 * MIB);
      expect(after.usedBytes + after.freeBytes).to.be.at.most(after.totalBytes);
    });

    it('has nothing free when it is full, never less than nothing', async () => {
      for (let count = 0; count < 6; count += 1) await opened.store(3 * MIB);
      expect((await volume.usage()).freeBytes).to.equal(0);
    });

    it('answers many at once alike', async () => {
      await opened.store(MIB);
      const answers = await Promise.all(Array.from({ length: 50 }, () => volume.usage()));
      // Inodes of a plain folder are the host's, where others make files meanwhile.
      const bytes = answers.map(({ freeInodes: _, ...answer }) => JSON.stringify(answer));
      expect(new Set(bytes).size).to.equal(1);
    });

    it('that is gone says so', async () => {
      await opened.lose();
      const asking = volume.usage().catch((error: unknown) => Promise.reject(toNexusError(error)));
      expect(await codeOf(() => asking)).to.equal('not_found');
    });
  });
}
