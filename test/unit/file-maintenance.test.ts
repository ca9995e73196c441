import { expect } from 'chai';
import { FileBench, UPLOAD_TTL_MS } from '../support/files.js';
import { codeOf } from '../support/codes.js';
import { nodeId, storeFile } from '../support/records.js';

describe('file maintenance', () => {
  let bench: FileBench;

  beforeEach(() => {
    bench = new FileBench();
  });

  const tick = (signal = new AbortController().signal) => bench.maintenance.tick(signal);
  const doomed = async () => (await bench.store.files.doomedReplicas(10_000)).length;

  it('undoes uploads without progress, tells it, and deletes their chunks', async () => {
    const id = await bench.open();
    await bench.grant(id, 3);
    bench.nowMs += UPLOAD_TTL_MS - 1;
    await tick();
    expect(await bench.store.files.getUpload(id)).to.not.equal(undefined);
    bench.nowMs += 1;
    await tick();
    expect(await bench.store.files.getUpload(id)).to.equal(undefined);
    expect(await doomed()).to.equal(0);
    expect(bench.nodes.deletions.map((deletion) => deletion.chunkIds.length)).to.deep.equal([1, 1, 1]);
    expect((await bench.store.events.list(0)).map((event) => event.type)).to.deep.equal(['upload.expired']);
  });

  it('spares an upload that was granted more between being listed and being undone', async () => {
    const id = await bench.open();
    const { expiredUploads } = bench.store.files;
    bench.store.files.expiredUploads = async (now) => {
      const listed = await expiredUploads.call(bench.store.files, now);
      const change = { received: [], moved: [], placed: [], expiresAt: now + 1000 };
      await bench.store.files.recordGrants(id, change);
      return listed;
    };
    bench.nowMs += UPLOAD_TTL_MS;
    await tick();
    expect(await bench.store.files.getUpload(id)).to.not.equal(undefined);
    expect(await bench.store.events.list(0)).to.deep.equal([]);
  });

  it('sends deletions in batches of at most 500', async () => {
    const places = Array.from({ length: 1200 }, () => [nodeId(0)]);
    const { file } = await storeFile(bench.store.files, places);
    await bench.files.remove(file.id);
    await tick();
    expect(bench.nodes.deletions.map((deletion) => deletion.chunkIds.length)).to.deep.equal([500, 500, 200]);
    expect(await doomed()).to.equal(0);
  });

  it('asks a node that is away when it is back, and the others meanwhile', async () => {
    const file = await bench.storeFile(3);
    await bench.files.remove(file.id);
    bench.nodes.change(bench.id(1), { writable: false });
    await tick();
    expect(bench.nodes.deletions.map(({ node }) => node)).to.deep.equal([bench.id(0), bench.id(2)]);
    expect(await doomed()).to.equal(1);
    bench.nodes.change(bench.id(1), { writable: true });
    await tick();
    expect(await doomed()).to.equal(0);
  });

  it('asks again until the agent has confirmed, and a failing node harms no other', async () => {
    const file = await bench.storeFile(3);
    await bench.files.remove(file.id);
    bench.nodes.silent.add(bench.id(0));
    await tick();
    await tick();
    expect(bench.nodes.deletions.filter(({ node }) => node === bench.id(0))).to.have.length(2);
    expect(await doomed()).to.equal(1);
    bench.nodes.silent.clear();
    await tick();
    expect(await doomed()).to.equal(0);
  });

  it('keeps what an agent did not confirm', async () => {
    const file = await bench.storeFile(7);
    await bench.files.remove(file.id);
    bench.nodes.confirmsAtMost = 2;
    await tick();
    expect(await doomed()).to.equal(1);
    await tick();
    expect(await doomed()).to.equal(0);
  });

  it('stops between two commands when it is told to', async () => {
    const { file } = await storeFile(
      bench.store.files,
      Array.from({ length: 600 }, () => [nodeId(0)]),
    );
    await bench.files.remove(file.id);
    const stop = new AbortController();
    const { deleteChunks } = bench.nodes;
    bench.nodes.deleteChunks = (node, chunkIds) => {
      stop.abort();
      return deleteChunks.call(bench.nodes, node, chunkIds);
    };
    await tick(stop.signal);
    expect(await doomed()).to.equal(100);
  });

  it('tells a failing store', async () => {
    const id = await bench.open();
    bench.nowMs += UPLOAD_TTL_MS;
    bench.store.failNextWrites(1);
    expect(await codeOf(tick)).to.equal('resource_exhausted');
    await tick();
    expect(await bench.store.files.getUpload(id)).to.equal(undefined);
  });
});
