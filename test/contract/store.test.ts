/** What every store keeps: nodes, events, transactions. Files have a suite of their own beside it. */
import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import type { NodeId } from '../../shared/ids.js';
import type { Store } from '../../controller/store/port/store.js';
import { codeOf } from '../support/codes.js';
import { MD5, nodeId, nodeRecord, openUpload, placedChunk } from '../support/records.js';
import { STORES, type OpenedStore } from '../support/stores.js';

for (const { name, open } of STORES) {
  describe(`store, ${name}`, () => {
    let opened: OpenedStore;
    let store: Store;

    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(async () => {
      await opened.dispose();
    });

    const reserve = (nodeName: string, slots = 10) => store.nodes.reserve(slots, (slot) => nodeRecord(nodeName, slot));

    describe('nodes', () => {
      it('come back as they were stored', async () => {
        const node = await reserve('web-1');
        expect(await store.nodes.get(node.id)).to.deep.equal(node);
        expect(await store.nodes.list()).to.deep.equal([node]);
        expect(await store.nodes.get('000000000000' as NodeId)).to.equal(undefined);
      });

      it('get the lowest free slot, again when it is free again', async () => {
        const nodes = [await reserve('a'), await reserve('b'), await reserve('c')];
        expect(nodes.map((node) => node.hosting.slot)).to.deep.equal([0, 1, 2]);
        await store.nodes.remove(nodes[1]!.id);
        expect((await reserve('d')).hosting.slot).to.equal(1);
        expect((await store.nodes.list()).map((node) => node.name)).to.deep.equal(['a', 'd', 'c']);
      });

      it('are refused when no slot is free, and when the name is taken', async () => {
        await reserve('a', 1);
        expect(await codeOf(() => reserve('b', 1))).to.equal('resource_exhausted');
        expect(await codeOf(() => reserve('a', 2))).to.equal('already_exists');
        expect(await store.nodes.list()).to.have.length(1);
      });

      it('get no slot that is held, as that is when they are stored', async () => {
        const held = new Set([0]);
        const holding = store.nodes.reserve(10, (slot) => nodeRecord('a', slot), held);
        held.add(1);
        expect((await holding).hosting.slot).to.equal(2);
      });

      it('are stored in the slot that they name, unless that or the name is taken', async () => {
        const record = nodeRecord('a', 7);
        await store.nodes.insert(record);
        expect(await store.nodes.get(record.id)).to.deep.equal(record);
        expect(await codeOf(() => store.nodes.insert(nodeRecord('b', 7)))).to.equal('already_exists');
        expect(await codeOf(() => store.nodes.insert(nodeRecord('a', 8)))).to.equal('already_exists');
        expect(await store.nodes.list()).to.have.length(1);
      });

      it('one of two reservations of one name wins', async () => {
        const codes = await Promise.all([codeOf(() => reserve('same')), codeOf(() => reserve('same'))]);
        expect(codes.sort()).to.deep.equal(['accepted', 'already_exists']);
        expect(await store.nodes.list()).to.have.length(1);
      });

      it('reserved at once have different slots', async () => {
        const nodes = await Promise.all(Array.from({ length: 20 }, (_, number) => reserve(`n${number}`, 20)));
        expect(new Set(nodes.map((node) => node.hosting.slot)).size).to.equal(20);
      });

      it('change only in what is patched', async () => {
        const node = await reserve('a');
        const patch = { status: 'Running', labels: { zone: 'b' }, cordoned: false, storageBytes: 2 ** 50 } as const;
        expect(await store.nodes.update(node.id, patch)).to.deep.equal({ ...node, ...patch });
        expect(await store.nodes.get(node.id)).to.deep.equal({ ...node, ...patch });
        expect(await store.nodes.update(node.id, {})).to.deep.equal({ ...node, ...patch });
      });

      it('that are not there cannot change, and are removed with success', async () => {
        expect(await codeOf(() => store.nodes.update('000000000000' as NodeId, { memoryMb: 1 }))).to.equal('not_found');
        await store.nodes.remove('000000000000' as NodeId);
      });
    });

    describe('writes', () => {
      it('at once: one that fails leaves the others whole', async () => {
        const node = await reserve('taken');
        const codes = await Promise.all(
          Array.from({ length: 50 }, (_, number) =>
            codeOf(async () => {
              if (number === 25) return await reserve('taken', 100);
              if (number % 2 === 0) return await reserve(`n${number}`, 100);
              return await store.nodes.update(node.id, { memoryMb: number });
            }),
          ),
        );
        expect(codes.filter((code) => code !== 'accepted')).to.deep.equal(['already_exists']);
        expect(await store.nodes.list()).to.have.length(1 + 25);
        expect((await store.nodes.get(node.id))?.memoryMb).to.equal(49);
      });

      it('that fail halfway are undone whole', async () => {
        const { id, chunks } = await openUpload(store.files, [[nodeId(1)]]);
        const moveBack = { chunkId: chunks[0]!.id, from: [nodeId(9)], to: [nodeId(2)] };
        const received = [{ chunkId: chunks[0]!.id, size: 5, md5: MD5, nodeIds: [nodeId(1)] }];
        const change = { received, moved: [moveBack], placed: [placedChunk(1, [nodeId(1)])], expiresAt: 9000 };
        // The receipt is written first, then the move is refused: the chunk was never on node 9.
        expect(await codeOf(() => store.files.recordGrants(id, change))).to.equal('aborted');
        const [chunk] = await store.files.uploadChunks(id);
        expect(chunk).to.deep.include({ size: 0, md5: '', replicas: [{ nodeId: nodeId(1), state: 'writing' }] });
        expect((await store.files.getUpload(id))?.expiresAt).to.equal(1000);
      });

      it('that are not committed are not seen by reads beside them', async () => {
        const { id, chunks } = await openUpload(store.files, [[nodeId(1)]]);
        const received = [{ chunkId: chunks[0]!.id, size: 5, md5: MD5, nodeIds: [nodeId(1)] }];
        // The receipt is written first, the move is refused afterwards.
        const doomed = [{ chunkId: chunks[0]!.id, from: [nodeId(9)], to: [nodeId(2)] }];
        const change = { received, moved: doomed, placed: [], expiresAt: 9000 };
        const write = { isRunning: true };
        const writing = codeOf(() => store.files.recordGrants(id, change)).finally(() => {
          write.isRunning = false;
        });
        let reads = 0;
        for (; write.isRunning; reads += 1) {
          const [chunk] = await store.files.uploadChunks(id);
          expect(chunk?.md5).to.equal('');
          // Readers come by turns of the loop, in which writes go on.
          await setImmediate();
        }
        expect(await writing).to.equal('aborted');
        expect(reads).to.be.greaterThan(0);
      });

      it('that fail in their own code change nothing', async () => {
        const failing = store.nodes.reserve(10, () => {
          throw new Error('no address');
        });
        expect(await codeOf(() => failing)).to.equal('Error: no address');
        expect(await store.nodes.list()).to.deep.equal([]);
        expect((await reserve('a')).hosting.slot).to.equal(0);
      });

      it('are seen by the reads that follow them', async () => {
        const node = await reserve('a');
        for (let memoryMb = 1; memoryMb <= 20; memoryMb += 1) {
          await store.nodes.update(node.id, { memoryMb });
          expect((await store.nodes.get(node.id))?.memoryMb).to.equal(memoryMb);
        }
      });
    });

    describe('events', () => {
      const event = (message: string) => ({ at: 5, type: 'node.running', subject: 'a', message, owner: 'ann' });

      it('are listed in order after a given one', async () => {
        const first = await store.events.append(event('one'));
        const second = await store.events.append(event('two'));
        expect(second.id).to.be.greaterThan(first.id);
        expect(await store.events.list(0)).to.deep.equal([first, second]);
        expect(await store.events.list(first.id)).to.deep.equal([second]);
      });
    });

    describe('closing', () => {
      it('waits for running writes, may be done twice, and refuses what comes later', async () => {
        const running = reserve('a');
        await store.close();
        await store.close();
        expect((await running).name).to.equal('a');
        expect(await codeOf(() => store.nodes.list())).to.equal('unavailable');
        expect(await codeOf(() => reserve('b'))).to.equal('unavailable');
      });
    });
  });
}
